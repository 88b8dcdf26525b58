// The Engine of engine.h over one Backend.
#pragma once

#include <unordered_map>

#include "runner/engine/engine.h"
#include "runner/engine/prompt.h"
#include "runner/engine/sampler.h"
#include "runner/engine/scheduler.h"
#include "runner/engine/speed_model.h"

namespace deepserve::runner {

class BatchingEngine final : public Engine {
 public:
  // `options` within the backend's bounds: Engine::make sees to that.
  BatchingEngine(Backend& backend, const Tokenizer& tokenizer, const Result<ChatTemplate>& chat,
                 const EngineOptions& options, EventSink& sink);

  void submit(const ipc::Submit& submit) override;
  void cancel(ipc::RequestId id) override;
  bool has_work() const override { return !scheduler_.empty(); }
  Result<void> step() override;
  ipc::Gauges gauges() const override;
  uint32_t context_tokens() const override { return options_.context_tokens; }

 private:
  void start_choices(Request& request, const ipc::Submit& submit, PreparedPrompt& prepared);
  void resume(Sequence& sequence, std::span<const TokenId> tokens);
  void accept(Request& request);
  uint32_t prefill_tokens_max() const;
  void build_batch();
  Result<void> run_batch();
  void take_logits(Sequence& leader, std::span<const float> logits);
  void sample(Sequence& sequence, std::span<const float> logits);
  void tell_delta(Sequence& sequence, TokenId token, std::span<const float> logits);
  void end_choice(Sequence& sequence, ipc::FinishReason reason);
  void fail_request(Request& request, const Error& error);
  void forget_ended();

  Backend& backend_;
  const Tokenizer& tokenizer_;
  const Result<ChatTemplate>& chat_;
  EngineOptions options_;
  EventSink& sink_;
  Scheduler scheduler_;
  Sampler sampler_;
  SpeedModel speed_;
  uint32_t token_bytes_max_;
  std::vector<TokenId> end_tokens_;  // all that end a generation, for tokens_min
  std::unordered_map<ipc::RequestId, std::unique_ptr<Request>> requests_;
  std::vector<ipc::RequestId>
      ended_;  // forgotten when the step is over: its plan may still name their sequences
  uint64_t arrivals_ = 0;
  uint64_t prompt_tokens_total_ = 0;
  uint64_t generated_tokens_total_ = 0;
  // Kept from step to step for their memory.
  StepPlan plan_;
  std::vector<BatchEntry> batch_;
  std::vector<float> logits_;  // [rows, vocabulary]
  ipc::Delta delta_;
};

}  // namespace deepserve::runner
