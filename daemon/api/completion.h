// Answers one /v1/completions or /v1/chat/completions request out of what its runner tells.
//
// The status line waits for the runner's `accepted`: until then every error has its own HTTP status. A stream
// that fails after it ends with `event: error` and without [DONE] (DESIGN 6).
//
// What has come and cannot be told yet is kept up to ApiOptions::answer_bytes_max. Beyond it the request is
// forgotten: kPayloadTooLarge for an answer in one piece, kSlowReader for a stream.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/api/answer_text.h"
#include "daemon/api/completion_spec.h"
#include "daemon/http/exchange.h"
#include "daemon/observe/metrics.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

struct ApiOptions;

class Completion final : public Responder, public ResponseSink {
 public:
  // Starts the request. Everything is borrowed but the spec.
  Completion(Exchange& exchange, Serving& serving, Metrics& metrics, CompletionSpec spec,
             const ApiOptions& options);
  // Forgets the request unless it has ended.
  ~Completion() override;

  bool produce(std::string& out) override;
  void tick(uint64_t now_ns) override;

  void on_accepted(const ipc::Accepted& event) override;
  void on_delta(const ipc::Delta& event) override;
  void on_finished(const ipc::Finished& event) override;
  void on_refused(const Refusal& refusal) override;
  void on_failed(const Error& error) override;

 private:
  struct Choice {
    std::string text;  // not told yet; of an answer in one piece: all of it
    LogprobText logprobs;
    uint32_t tokens = 0;       // received
    uint32_t tokens_told = 0;  // whose text has been told as well
    uint64_t last_token_ns = 0;
    std::optional<ipc::FinishReason> finish;
    bool finish_told = false;

    size_t held_bytes() const { return text.size() + logprobs.bytes(); }
  };

  void observe_delta(Choice& choice, uint32_t tokens);
  void append_id(std::string& out) const;
  void produce_choice(std::string& out, uint16_t index);
  void release(Choice& choice);
  void give_up();
  void respond_whole();
  double seconds_since_start() const;

  Exchange& exchange_;
  Serving& serving_;
  Metrics& metrics_;
  const CompletionShape shape_;
  const ipc::Class service_class_;
  const uint8_t logprobs_;
  const uint64_t keep_alive_ms_;
  const size_t answer_bytes_max_;
  const uint64_t started_ns_;
  uint64_t last_event_ns_ = 0;
  ipc::RequestId id_ = 0;
  std::optional<AnswerText> text_;
  std::vector<Choice> choices_;
  size_t held_bytes_ = 0;  // of all choices
  ipc::Usage usage_;
  std::optional<Error> failure_;  // after the 200
  bool accepted_ = false;
  bool ended_ = false;
  bool first_token_seen_ = false;
  bool roles_told_ = false;
  bool keep_alive_due_ = false;
};

}  // namespace deepserve::daemon
