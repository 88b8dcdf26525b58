#include "daemon/api/embeddings.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/admission/prompt_cut.h"
#include "daemon/api/addressing.h"
#include "daemon/api/answer_post.h"
#include "daemon/api/completion_spec.h"
#include "daemon/api/embedding_text.h"
#include "daemon/api/json_writer.h"
#include "daemon/api/prompt_fields.h"
#include "daemon/api/routes.h"
#include "daemon/api/whole_reader.h"
#include "daemon/http/error_response.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

Embeddings::Embeddings(const ApiParts& parts, EmbeddingSpec spec, const AnswerTerms& terms, bool keeps)
    : LiveAnswer(parts, spec.request, terms),
      metrics_(parts.metrics),
      answer_bytes_max_(parts.options.answer_bytes_max),
      blob_{
          .terms = terms, .embeds = true, .shape = {}, .dimensions = spec.dimensions, .base64 = spec.base64},
      spec_(std::move(spec)),
      vectors_(spec_.inputs.size()),
      requests_(parts.serving, *this) {
  if (keeps) keep();
  const uint64_t started_ns = life_.status().started_ns;
  blob_.terms.created_unix = life_.status().created_unix;
  blob_.terms.started_ns = started_ns;
  if (const uint64_t deadline_ns = spec_.request.deadline_ns; deadline_ns != 0) {
    deadline_after_ns_ = std::max(deadline_ns, started_ns + 1) - started_ns;
  }
  spec_.request.whole_parts = static_cast<uint32_t>(spec_.inputs.size());
  for (const ipc::Prompt& input : spec_.inputs) spec_.request.whole_prompt_bytes += prompt_bytes(input);
  start_some();
  life_.begin(requests_.id(0), *this);
}

Embeddings::Embeddings(const ApiParts& parts, RequestId id, const RequestSpec& first, const AnswerBlob& blob)
    : LiveAnswer(parts, first, blob.terms),
      metrics_(parts.metrics),
      answer_bytes_max_(parts.options.answer_bytes_max),
      vectors_(first.whole_parts),
      adopted_ns_(monotonic_ns()),
      requests_(parts.serving, *this) {
  keep();
  spec_.dimensions = blob.dimensions;
  spec_.base64 = blob.base64;
  requests_.await(vectors_.size());
  life_.begin(id, *this);
}

Embeddings::~Embeddings() {
  life_.leave(status());
}

ResponseSink* Embeddings::adopt(RequestId id, const RequestSpec& spec, uint32_t member) {
  return spec.whole_parts == vectors_.size() && !ended() ? requests_.adopt(member, id) : nullptr;
}

std::unique_ptr<Responder> Embeddings::reader(const std::shared_ptr<LiveAnswer>& self, Exchange& exchange,
                                              ReadingStart) {
  return std::make_unique<WholeReader>(exchange, self);
}

std::optional<Error> Embeddings::reason_not_to_stream() const {
  return Error{Code::kInvalidRequest, "embeddings have no events"};
}

size_t Embeddings::bytes() const {
  constexpr size_t kRoughly = 4096;  // all that does not grow
  return kRoughly + held_bytes_ + (response() ? response()->body.size() : 0);
}

void Embeddings::start_some() {
  if (adopted_ns_ != 0) return;
  while (requests_.size() < spec_.inputs.size() && requests_.size() - inputs_ended_ < kRunningMax) {
    RequestSpec one = spec_.request;
    one.prompt = std::move(spec_.inputs[requests_.size()]);
    one.prompt_bytes = prompt_bytes(one.prompt);
    if (deadline_after_ns_ != 0) one.deadline_ns = monotonic_ns() + deadline_after_ns_;
    one.opaque = encode_blob(blob_);
    ++blob_.member;
    requests_.start(std::move(one));
  }
}

void Embeddings::on_accepted(size_t, const ipc::Accepted& event) {
  life_.count_accepted(event);
  if (requests_.accepted() == vectors_.size()) note_accepted();
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
  if (inputs_ended_ < vectors_.size()) return start_some();
  life_.finish(status());
  respond_whole();
}

void Embeddings::on_refused(const Refusal& refusal) {
  respond(life_.refuse(refusal));
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
  respond(life_.failure_response(error, param));
}

void Embeddings::tick(uint64_t now_ns) {
  if (ended()) return;
  if (const auto overdue = life_.overdue(now_ns)) return give_up(*overdue);
  const size_t present = requests_.size();
  if (adopted_ns_ == 0 || present == vectors_.size() || now_ns < adopted_ns_ + kAdoptionMax_ns) return;
  give_up(lost_part(present, vectors_.size()));
}

void Embeddings::respond_whole() {
  HttpResponse response;
  JsonWriter json(response.body);
  json.begin_object().member("object", "list").key("data").begin_list();
  for (size_t i = 0; i < vectors_.size(); ++i) {
    json.begin_object().member("object", "embedding").member("index", i);
    json.key("embedding").raw(vectors_[i]).end_object();
    vectors_[i] = std::string();
  }
  held_bytes_ = 0;
  json.end_list().member("model", life_.status().model).key("usage").begin_object();
  json.member("prompt_tokens", life_.status().usage.prompt_tokens)
      .member("total_tokens", life_.status().usage.prompt_tokens)
      .end_object()
      .end_object();
  response.body += '\n';
  life_.announce(response);
  respond(std::move(response));
}

void add_embedding_routes(Router& router, const ApiParts& parts) {
  const auto make = [parts](Exchange& exchange, const AnswerTerms& terms) -> MadeAnswer {
    auto spec = parse_embedding_request(exchange.request());
    if (!spec) return tl::unexpected(spec.error());
    if (auto model = address(exchange.request(), parts, spec->request); !model) {
      return tl::unexpected(model.error());
    }
    AnswerTerms with_timeout = terms;
    with_timeout.timeout_ns = spec->timeout_ns;
    return std::make_shared<Embeddings>(parts, std::move(*spec), with_timeout, terms.outlives);
  };
  router.add("POST", "/v1/embeddings", [parts, make](Exchange& exchange, const PathParameters&) {
    return answer_post(exchange, parts, make);
  });
}

}  // namespace deepserve::daemon
