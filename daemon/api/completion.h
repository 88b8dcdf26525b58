// One /v1/completions or /v1/chat/completions answer, put together out of what its runners tell: of one
// prompt, or of several that are answered together.
//
// The status line waits until every prompt has been accepted: until then a refusal or failure of any of them
// is the whole answer, with its own HTTP status. A stream that fails later ends with `event: error` and
// without [DONE] (DESIGN 6).
//
// Choice c of prompt p is told as choice p * n + c. With best_of above n so many choices are generated and
// those with the highest mean log probability of a token are told, the best first.
//
// What has come and was not told to all of its readers, or all of it where it is kept, is held up to
// ApiOptions::answer_bytes_max. Beyond it the request is forgotten: kSlowReader for an ordinary stream,
// kPayloadTooLarge for the others. The same, as kRequestTimeout, once its total time is over; that is looked
// at every HttpLimits::sweep_ms.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/api/answer_blob.h"
#include "daemon/api/answer_text.h"
#include "daemon/api/choice.h"
#include "daemon/api/completion_spec.h"
#include "daemon/api/live_answer.h"
#include "daemon/api/request_group.h"
#include "daemon/observe/metrics.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

class Completion final : public LiveAnswer, private RequestGroup::Listener {
 public:
  // Starts the requests. The parts are borrowed.
  Completion(const ApiParts& parts, CompletionSpec spec, const AnswerTerms& terms, bool keeps);
  // Goes on with one that another dsd began; adopt() follows for each of its requests that came back, of
  // which `first` is one.
  Completion(const ApiParts& parts, RequestId id, const RequestSpec& first, const AnswerBlob& blob);
  // Forgets the requests that have not ended.
  ~Completion() override;

  // LiveAnswer
  std::unique_ptr<Responder> reader(const std::shared_ptr<LiveAnswer>& self, Exchange& exchange,
                                    ReadingStart start) override;
  std::optional<Error> reason_not_to_stream() const override;
  bool is_stream() const override { return shape_.stream; }
  bool can_be_handed_over() const override { return true; }
  ResponseSink* adopt(RequestId id, const RequestSpec& spec, uint32_t member) override;
  size_t bytes() const override;
  void tick(uint64_t now_ns) override;
  void stop_keeping() override;
  // RunningAnswer
  AnswerStatus status() const override;
  void cancel() override;

  // For its readers.
  const CompletionShape& shape() const { return shape_; }
  const AnswerText& text() const { return *text_; }
  const std::vector<Choice>& choices() const { return choices_; }
  const std::optional<Error>& failure() const { return failure_; }
  void announce(HttpResponse& head) const { life_.announce(head); }
  void append_usage_event(std::string& out) const;
  // Something was told: what no reader needs any more may go.
  void release_told();

 private:
  // RequestGroup::Listener
  void on_degraded(const Degraded& degraded) override { life_.degrade(degraded); }
  void on_accepted(size_t prompt, const ipc::Accepted& event) override;
  void on_delta(size_t prompt, const ipc::Delta& event) override;
  void on_embedding(size_t, const ipc::Embedding&) override {}
  void on_finished(size_t prompt, const ipc::Finished& event) override;
  void on_refused(const Refusal& refusal) override;
  void on_failed(const Error& error) override;

  void start(CompletionSpec spec, const AnswerTerms& terms);
  void begin_reading_calls();
  void observe_delta(Choice& choice, uint32_t tokens);
  bool is_streamed() const;
  void release(Choice& choice, const ChoicePoint& told);
  void give_up(Error error);
  Error too_large() const;
  void respond_whole();

  Serving& serving_;
  Metrics& metrics_;
  const CompletionShape shape_;
  const uint64_t keep_alive_ms_;
  const size_t answer_bytes_max_;
  const size_t prompts_;
  const size_t generated_choices_;  // of each prompt
  std::optional<AnswerText> text_;
  std::vector<Choice> choices_;  // prompt by prompt
  size_t held_bytes_ = 0;        // of all choices
  size_t prompts_ended_ = 0;
  ipc::Usage ended_usage_;  // of the prompts that have ended
  std::optional<Error> failure_;
  uint64_t adopted_ns_ = 0;  // 0: it was begun here
  RequestGroup requests_;    // the last member: the first to go
};

}  // namespace deepserve::daemon
