#include "daemon/api/adoption.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "daemon/api/answer_blob.h"
#include "daemon/api/completion.h"
#include "daemon/api/embeddings.h"
#include "daemon/api/error_details.h"
#include "daemon/api/handed_reading.h"
#include "daemon/http/error_response.h"
#include "daemon/http/json_text.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kPartsMax = 4096;  // times their choices: more than any answer has

// Reads an answer that may not be here yet.
class HandedReader final : public Responder, private KeptAnswers::Waiting {
 public:
  HandedReader(Exchange& exchange, const ApiParts& parts, HandedReading handed)
      : exchange_(exchange),
        serving_(parts.serving),
        kept_(parts.kept),
        handed_(std::move(handed)),
        since_ns_(monotonic_ns()) {
    if (const auto answer = kept_.find_any(handed_.request)) {
      on_arrived(answer);
    } else {
      kept_.wait(*this);
    }
  }
  ~HandedReader() override { kept_.no_longer_waits(*this); }

  bool produce(std::string& out) override {
    if (reader_) return reader_->produce(out);
    if (!lost_) return false;
    const Error error = lost();
    out += "event: error\ndata: ";
    append_error_json(out, error, failure_details(error, ipc::Class::kNormal));
    out += "\n\n";
    return true;
  }
  void tick(uint64_t now_ns) override {
    if (reader_) return reader_->tick(now_ns);
    if (lost_ || now_ns < since_ns_ + kAdoptionMax_ns || serving_.may_hear_of_more()) return;
    lost_ = true;
    kept_.no_longer_waits(*this);
    if (handed_.head_told) return exchange_.wake();
    const Error error = lost();
    exchange_.respond(error_response(error, failure_details(error, ipc::Class::kNormal)));
  }
  std::optional<std::string> hand_over() const override {
    return reader_ ? reader_->hand_over() : handed_text(handed_);
  }

 private:
  bool wants(const LiveAnswer& answer) const override { return answer.id() == handed_.request; }
  void on_arrived(const std::shared_ptr<LiveAnswer>& answer) override {
    ReadingStart start{.streams = handed_.streams, .head_told = handed_.head_told};
    if (!handed_.position.empty()) start.from = parse_position(handed_.position);
    answer->end_with_reader();
    reader_ = answer->reader(answer, exchange_, std::move(start));
  }
  static Error lost() { return {Code::kRunnerLost, "the request did not come back with its runner"}; }

  Exchange& exchange_;
  const Serving& serving_;
  KeptAnswers& kept_;
  const HandedReading handed_;
  const uint64_t since_ns_;
  std::unique_ptr<Responder> reader_;
  bool lost_ = false;
};

std::shared_ptr<LiveAnswer> make_answer(const ApiParts& parts, RequestId id, const RequestSpec& first,
                                        const AnswerBlob& blob) {
  if (blob.embeds) return std::make_shared<Embeddings>(parts, id, first, blob);
  return std::make_shared<Completion>(parts, id, first, blob);
}

}  // namespace

ResponseSink* adopt_request(const ApiParts& parts, RequestId id, const RequestSpec& spec) {
  const auto blob = decode_blob(spec.opaque);
  if (!blob) {
    spdlog::error("request {} cannot be gone on with: {}", hex16(id), blob.error().message);
    return nullptr;
  }
  const uint64_t choices = blob->embeds ? 1 : spec.generation.choices;
  if (spec.whole_parts == 0 || choices == 0 || spec.whole_parts * choices > kPartsMax) return nullptr;
  const RequestId whole = spec.whole != 0 ? spec.whole : id;
  auto answer = parts.kept.find_any(whole);
  if (!answer) {
    answer = make_answer(parts, whole, spec, *blob);
    if (auto* sink = answer->adopt(id, spec, blob->member)) {
      parts.kept.add(answer);
      return sink;
    }
    return nullptr;
  }
  return answer->client() == spec.client ? answer->adopt(id, spec, blob->member) : nullptr;
}

std::unique_ptr<Responder> resume_reading(Exchange& exchange, const ApiParts& parts,
                                          std::string_view handed) {
  auto reading = parse_handed(handed);
  if (!reading) return nullptr;
  return std::make_unique<HandedReader>(exchange, parts, std::move(*reading));
}

}  // namespace deepserve::daemon
