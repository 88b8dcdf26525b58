#include "daemon/api/embeddings.h"

#include <fmt/format.h>

#include <algorithm>

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
      log_(parts.log),
      timeout_ns_(spec.timeout_ns.value_or(parts.options.request_timeout_ns)),
      answer_bytes_max_(parts.options.answer_bytes_max),
      spec_(std::move(spec)),
      vectors_(spec_.inputs.size()),
      requests_(parts.serving, *this) {
  status_.client = spec_.request.client;
  status_.endpoint = spec_.request.endpoint;
  status_.model = spec_.request.model;
  status_.service_class = spec_.request.service_class;
  status_.created_unix = unix_seconds();
  status_.started_ns = monotonic_ns();
  if (const uint64_t deadline_ns = spec_.request.deadline_ns; deadline_ns != 0) {
    deadline_after_ns_ = std::max(deadline_ns, status_.started_ns + 1) - status_.started_ns;
  }
  start_some();
  status_.id = requests_.id(0);
  if (const auto row = parts.serving.request(status_.id)) status_.service_class = row->service_class;
  exchange_.set_request_id(status_.id);
  log_.add(status_.id, *this);
}

Embeddings::~Embeddings() {
  if (ended_) return;
  metrics_.count_failed(Code::kCancelled, seconds_since_start());
  end(AnswerState::kCancelled, Error{Code::kCancelled, "the client left"});
}

double Embeddings::seconds_since_start() const {
  return static_cast<double>(monotonic_ns() - status_.started_ns) / static_cast<double>(kSecond_ns);
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
  const uint64_t now_ns = monotonic_ns();
  metrics_.count_accepted(status_.service_class,
                          static_cast<double>(now_ns - status_.started_ns) / static_cast<double>(kSecond_ns),
                          event.prompt_tokens);
  status_.usage.prompt_tokens += event.prompt_tokens;
  status_.usage.cached_tokens += event.cached_tokens;
  if (requests_.accepted() < spec_.inputs.size()) return;
  status_.accepted_ns = now_ns;
  status_.state = AnswerState::kRunning;
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
  metrics_.observe_whole(seconds_since_start());
  end(AnswerState::kFinished, std::nullopt);
  respond();
}

void Embeddings::on_refused(const Refusal& refusal) {
  ended_ = true;
  log_.drop(status_.id);
  const ErrorDetails details = refusal_details(refusal);
  metrics_.count_refused(status_.service_class,
                         details.reason.empty() ? error_row(refusal.error.code).name : details.reason);
  log_end(status_.id, refusal.error);
  exchange_.respond(error_response(refusal.error, details));
}

void Embeddings::on_failed(const Error& error) {
  give_up(error);
}

void Embeddings::cancel() {
  give_up({Code::kCancelled, "the request was cancelled by its client"});
}

void Embeddings::give_up(const Error& error, const std::string& param) {
  requests_.forget_all();
  end(error.code == Code::kCancelled ? AnswerState::kCancelled : AnswerState::kFailed, error);
  metrics_.count_failed(error.code, seconds_since_start());
  log_end(status_.id, error);
  ErrorDetails details = failure_details(error, status_.service_class);
  details.param = param;
  exchange_.respond(error_response(error, details));
}

void Embeddings::end(AnswerState state, const std::optional<Error>& error) {
  ended_ = true;
  status_.state = state;
  status_.error = error;
  status_.ended_ns = monotonic_ns();
  log_.end(status_);
}

void Embeddings::tick(uint64_t now_ns) {
  if (ended_ || timeout_ns_ == 0 || now_ns < status_.started_ns + timeout_ns_) return;
  give_up({Code::kRequestTimeout,
           fmt::format("the answer took longer than {} ms", timeout_ns_ / kMillisecond_ns)});
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
  json.end_list().member("model", status_.model).key("usage").begin_object();
  json.member("prompt_tokens", status_.usage.prompt_tokens)
      .member("total_tokens", status_.usage.prompt_tokens)
      .end_object()
      .end_object();
  response.body += '\n';
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
               const auto model = find_model(parts.serving, spec->request.model);
               if (!model) {
                 exchange.respond(error_response(model.error(), {.param = "model"}));
                 return nullptr;
               }
               spec->request.model = model->name;
               spec->request.peer = exchange.request().peer;
               spec->request.client = client_name(spec->request.peer, parts.options);
               return std::make_unique<Embeddings>(exchange, parts, std::move(*spec));
             });
}

}  // namespace deepserve::daemon
