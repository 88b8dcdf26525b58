#include "daemon/api/api.h"

#include "daemon/api/addressing.h"
#include "daemon/api/adoption.h"
#include "daemon/api/answer_post.h"
#include "daemon/api/completion.h"
#include "daemon/api/head_judge.h"
#include "daemon/api/routes.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

namespace {

MadeAnswer make_completion(Exchange& exchange, const ApiParts& parts, const AnswerTerms& terms,
                           Parsed<CompletionSpec> spec) {
  if (!spec) return tl::unexpected(spec.error());
  const auto model = address(exchange.request(), parts, spec->request);
  if (!model) return tl::unexpected(model.error());
  spec->shape.model = model->name;
  if (model->facts) spec->shape.fingerprint = model->facts->numerics_id;
  AnswerTerms with_timeout = terms;
  with_timeout.timeout_ns = spec->timeout_ns;
  return std::make_shared<Completion>(parts, std::move(*spec), with_timeout, terms.outlives);
}

void add_completion_route(Router& router, const ApiParts& parts, std::string_view path,
                          Parsed<CompletionSpec> (*parse)(const HttpRequest&)) {
  router.add("POST", path, [parts, parse](Exchange& exchange, const PathParameters&) {
    return answer_post(exchange, parts, [parts, parse](Exchange& asked, const AnswerTerms& terms) {
      return make_completion(asked, parts, terms, parse(asked.request()));
    });
  });
}

}  // namespace

void add_completion_routes(Router& router, const ApiParts& parts) {
  add_completion_route(router, parts, "/v1/chat/completions", parse_chat_request);
  add_completion_route(router, parts, "/v1/completions", parse_completion_request);
}

Api::Api(Serving& serving, Metrics& metrics, ApiOptions options)
    : serving_(serving),
      metrics_(metrics),
      options_(std::move(options)),
      kept_({options_.resume_window_ns, options_.kept_bytes_max}) {}

void Api::add_routes(Router& router) {
  const ApiParts parts = this->parts();
  add_completion_routes(router, parts);
  add_embedding_routes(router, parts);
  add_request_routes(router, parts);
  add_model_routes(router, serving_);
  add_tokenize_routes(router, parts);
  add_observe_routes(router);
  router.set_resume([parts](Exchange& exchange, std::string_view handed) {
    return resume_reading(exchange, parts, handed);
  });
}

ApiParts Api::parts() {
  return {serving_, metrics_, log_, kept_, options_};
}

ResponseSink* Api::adopt(RequestId id, const RequestSpec& spec) {
  return adopt_request(parts(), id, spec);
}

std::optional<std::vector<ExpectedAnswer>> Api::expected_next() const {
  if (!kept_.knows_what_returns() && monotonic_ns() < options_.return_until_ns) return std::nullopt;
  return kept_.expected_next();
}

Judge Api::judge() {
  return [judge = HeadJudge(serving_, metrics_, options_, kept_)](const HttpRequest& head) {
    return judge.judge(head);
  };
}

void Api::add_observe_routes(Router& router) {
  add_health_routes(router, parts());
}

}  // namespace deepserve::daemon
