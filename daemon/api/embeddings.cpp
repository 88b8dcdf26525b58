#include "daemon/api/embeddings.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/api/client_identity.h"
#include "daemon/api/completion_spec.h"
#include "daemon/api/embedding_text.h"
#include "daemon/api/json_writer.h"
#include "daemon/api/model_lookup.h"
#include "daemon/api/prompt_fields.h"
#include "daemon/api/routes.h"
#include "daemon/http/error_response.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

Embeddings::Embeddings(Exchange& exchange, const ApiParts& parts, EmbeddingSpec spec)
    : exchange_(exchange),
      metrics_(parts.metrics),
      life_(exchange, parts, spec.request, spec.timeout_ns),
      answer_bytes_max_(parts.options.answer_bytes_max),
      spec_(std::move(spec)),
      vectors_(spec_.inputs.size()),
      requests_(parts.serving, *this) {
  const uint64_t started_ns = life_.status().started_ns;
  if (const uint64_t deadline_ns = spec_.request.deadline_ns; deadline_ns != 0) {
    deadline_after_ns_ = std::max(deadline_ns, started_ns + 1) - started_ns;
  }
  start_some();
  life_.begin(requests_.id(0), *this);
}

Embeddings::~Embeddings() {
  life_.leave(status());
}

void Embeddings::start_some() {
  while (requests_.size() < spec_.inputs.size() && requests_.size() - inputs_ended_ < kRunningMax) {
    RequestSpec one = spec_.request;
    one.prompt = std::move(spec_.inputs[requests_.size()]);
    one.prompt_bytes = prompt_bytes(one.prompt);
    if (deadline_after_ns_ != 0) one.deadline_ns = monotonic_ns() + deadline_after_ns_;
    requests_.start(std::move(one));
  }
}

void Embeddings::on_accepted(size_t, const ipc::Accepted& event) {
  life_.count_accepted(event);
  if (requests_.accepted() == spec_.inputs.size()) life_.run();
}

void Embeddings::on_embedding(size_t input, const ipc::Embedding& event) {
  if (spec_.dimensions > event.values.size()) {
    return give_up(
        {Code::kInvalidRequest, fmt::format("'dimensions' must be at most {}, the model's own: not {}",
                                            event.values.size(), spec_.dimensions)},
        "dimensions");
  }
  std::vector<float> values = event.values;
  shorten_embedding(values, spec_.dimensions);
  append_embedding(vectors_[input], values, spec_.base64);
  held_bytes_ += vectors_[input].size();
  if (held_bytes_ <= answer_bytes_max_) return;
  give_up({Code::kPayloadTooLarge,
           fmt::format("the answer takes more than {} bytes: send fewer inputs", answer_bytes_max_)});
}

void Embeddings::on_finished(size_t input, const ipc::Finished& event) {
  metrics_.count_finished(event.reason);
  if (!event.last) return;
  ++inputs_ended_;
  if (vectors_[input].empty()) {
    return give_up({Code::kInternal, "the runner ended an input without its vector"});
  }
  if (inputs_ended_ < spec_.inputs.size()) return start_some();
  life_.finish(status());
  respond();
}

void Embeddings::on_refused(const Refusal& refusal) {
  life_.refuse(refusal);
}

void Embeddings::on_failed(const Error& error) {
  give_up(error);
}

void Embeddings::cancel() {
  give_up({Code::kCancelled, "the request was cancelled by its client"});
}

void Embeddings::give_up(const Error& error, const std::string& param) {
  requests_.forget_all();
  life_.fail(error, status());
  life_.respond_failure(error, param);
}

void Embeddings::tick(uint64_t now_ns) {
  if (const auto overdue = life_.overdue(now_ns)) give_up(*overdue);
}

void Embeddings::respond() {
  HttpResponse response;
  JsonWriter json(response.body);
  json.begin_object().member("object", "list").key("data").begin_list();
  for (size_t i = 0; i < vectors_.size(); ++i) {
    json.begin_object().member("object", "embedding").member("index", i);
    json.key("embedding").raw(vectors_[i]).end_object();
    vectors_[i] = std::string();
  }
  json.end_list().member("model", life_.status().model).key("usage").begin_object();
  json.member("prompt_tokens", life_.status().usage.prompt_tokens)
      .member("total_tokens", life_.status().usage.prompt_tokens)
      .end_object()
      .end_object();
  response.body += '\n';
  life_.announce(response);
  exchange_.respond(std::move(response));
}

void add_embedding_routes(Router& router, const ApiParts& parts) {
  router.add("POST", "/v1/embeddings",
             [parts](Exchange& exchange, const PathParameters&) -> std::unique_ptr<Responder> {
               auto spec = parse_embedding_request(exchange.request());
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
               spec->request.peer = exchange.request().peer;
               spec->request.client = std::move(*client);
               read_retry(exchange.request(), spec->request);
               return std::make_unique<Embeddings>(exchange, parts, std::move(*spec));
             });
}

}  // namespace deepserve::daemon
