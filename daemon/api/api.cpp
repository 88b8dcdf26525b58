#include "daemon/api/api.h"

#include <boost/json.hpp>

#include "daemon/api/client_identity.h"
#include "daemon/api/completion.h"
#include "daemon/api/head_judge.h"
#include "daemon/api/model_lookup.h"
#include "daemon/api/routes.h"

namespace deepserve::daemon {

namespace {

std::unique_ptr<Responder> start_completion(Exchange& exchange, const ApiParts& parts,
                                            Parsed<CompletionSpec> spec) {
  if (!spec) {
    exchange.respond(spec.error().response());
    return nullptr;
  }
  auto client = client_of(exchange.request(), parts.options);
  if (!client) {
    exchange.respond(error_response(client.error(), {.param = "X-Deepserve-Client"}));
    return nullptr;
  }
  const auto model = find_model(parts.serving, spec->request.model);
  if (!model) {
    exchange.respond(error_response(model.error(), {.param = "model"}));
    return nullptr;
  }
  spec->request.model = model->name;
  spec->shape.model = model->name;
  if (model->facts) spec->shape.fingerprint = model->facts->numerics_id;
  spec->request.peer = exchange.request().peer;
  spec->request.client = std::move(*client);
  read_retry(exchange.request(), spec->request);
  return std::make_unique<Completion>(exchange, parts, std::move(*spec));
}

}  // namespace

void add_completion_routes(Router& router, const ApiParts& parts) {
  router.add("POST", "/v1/chat/completions", [parts](Exchange& exchange, const PathParameters&) {
    return start_completion(exchange, parts, parse_chat_request(exchange.request()));
  });
  router.add("POST", "/v1/completions", [parts](Exchange& exchange, const PathParameters&) {
    return start_completion(exchange, parts, parse_completion_request(exchange.request()));
  });
}

Api::Api(Serving& serving, Metrics& metrics, ApiOptions options)
    : serving_(serving), metrics_(metrics), options_(std::move(options)) {}

void Api::add_routes(Router& router) {
  const ApiParts parts{serving_, metrics_, log_, options_};
  add_completion_routes(router, parts);
  add_embedding_routes(router, parts);
  add_request_routes(router, parts);
  add_model_routes(router, serving_);
  add_tokenize_routes(router, parts);
  add_observe_routes(router);
}

Judge Api::judge() {
  return [judge = HeadJudge(serving_, metrics_, options_)](const HttpRequest& head) {
    return judge.judge(head);
  };
}

void Api::add_observe_routes(Router& router) {
  add_health_routes(router, serving_, metrics_, options_.server);
}

}  // namespace deepserve::daemon
