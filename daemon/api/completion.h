// Answers one /v1/completions or /v1/chat/completions request out of what its runners tell: of one prompt, or
// of several that are answered together.
//
// The status line waits until every prompt has been accepted: until then a refusal or failure of any of them
// is the whole answer, with its own HTTP status. A stream that fails later ends with `event: error` and
// without [DONE] (DESIGN 6).
//
// Choice c of prompt p is told as choice p * n + c. With best_of above n so many choices are generated and
// those with the highest mean log probability of a token are told, the best first.
//
// What has come and cannot be told yet is kept up to ApiOptions::answer_bytes_max. Beyond it the request is
// forgotten: kPayloadTooLarge for an answer in one piece, kSlowReader for a stream. The same, as
// kRequestTimeout, once its total time is over; that is looked at every HttpLimits::sweep_ms.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/api/answer_life.h"
#include "daemon/api/answer_text.h"
#include "daemon/api/choice.h"
#include "daemon/api/completion_spec.h"
#include "daemon/api/request_group.h"
#include "daemon/http/exchange.h"
#include "daemon/observe/metrics.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

struct ApiParts;

class Completion final : public Responder, private RequestGroup::Listener, private RunningAnswer {
 public:
  // Starts the requests. Everything is borrowed but the spec.
  Completion(Exchange& exchange, const ApiParts& parts, CompletionSpec spec);
  // Forgets the requests that have not ended.
  ~Completion() override;

  bool produce(std::string& out) override;
  void tick(uint64_t now_ns) override;

 private:
  // RequestGroup::Listener
  void on_degraded(const std::string& how) override { life_.degrade(how); }
  void on_accepted(size_t prompt, const ipc::Accepted& event) override;
  void on_delta(size_t prompt, const ipc::Delta& event) override;
  void on_embedding(size_t, const ipc::Embedding&) override {}
  void on_finished(size_t prompt, const ipc::Finished& event) override;
  void on_refused(const Refusal& refusal) override;
  void on_failed(const Error& error) override;
  // RunningAnswer
  AnswerStatus status() const override;
  void cancel() override;

  void start(RequestSpec request, std::vector<ipc::Prompt> prompts, bool seed_given);
  void begin_reading_calls();
  void observe_delta(Choice& choice, uint32_t tokens);
  void append_id(std::string& out) const;
  void produce_choice(std::string& out, size_t index);
  void release(Choice& choice);
  void give_up(Error error);
  Error too_large() const;
  void respond_whole();
  bool all_accepted() const { return requests_.accepted() == prompts_; }

  Exchange& exchange_;
  Serving& serving_;
  Metrics& metrics_;
  AnswerLife life_;
  const CompletionShape shape_;
  const uint64_t keep_alive_ms_;
  const size_t answer_bytes_max_;
  const size_t prompts_;
  const size_t generated_choices_;  // of each prompt
  uint64_t last_event_ns_ = 0;
  std::optional<AnswerText> text_;
  std::vector<Choice> choices_;  // prompt by prompt
  size_t held_bytes_ = 0;        // of all choices
  size_t prompts_ended_ = 0;
  ipc::Usage ended_usage_;        // of the prompts that have ended
  std::optional<Error> failure_;  // after the 200
  bool roles_told_ = false;
  bool keep_alive_due_ = false;
  RequestGroup requests_;  // the last member: the first to go
};

}  // namespace deepserve::daemon
