// The Engine of engine.h over one Backend.
#pragma once

#include <deque>
#include <unordered_map>

#include "runner/engine/engine.h"
#include "runner/engine/prompt.h"
#include "runner/engine/sampler.h"
#include "runner/engine/scheduler.h"
#include "runner/engine/speculator.h"
#include "runner/engine/step_budget.h"
#include "runner/engine/step_pipeline.h"
#include "runner/engine/teller.h"
#include "runner/grammar/constraints.h"

namespace deepserve::runner {

class BatchingEngine final : public Engine {
 public:
  // `options` within the backend's bounds: Engine::make sees to that.
  BatchingEngine(Backend& backend, const Tokenizer& tokenizer, const Result<ChatTemplate>& chat,
                 const EngineOptions& options, EventSink& sink);

  void submit(const ipc::Submit& submit) override;
  void cancel(ipc::RequestId id) override;
  bool has_work() const override { return !scheduler_.empty() || !only_told_.empty() || !steps_.empty(); }
  Result<void> step() override;
  uint64_t next_step_ns() override { return steps_.next_start_ns(); }
  ipc::Gauges gauges() const override;
  EngineTimes times() const override;
  uint32_t context_tokens() const override { return options_.context_tokens; }

 private:
  Result<std::optional<GrammarMatcher>> matcher_of(const ipc::Submit& submit);
  void make_choices(Request& request, const ipc::Submit& submit, PreparedPrompt& prepared,
                    const std::optional<GrammarMatcher>& matcher);
  void start(Request& request, const ipc::Submit& submit);
  void resume(Sequence& sequence, const ipc::ResumedChoice& resumed);
  std::optional<ipc::FinishReason> append(Sequence& sequence, TokenId token);
  void accept(Request& request);
  void begin_request(const Sequence& sequence);
  void tell_prompt();
  Result<void> run_step();
  Result<void> start_step();
  Result<void> finish_step();
  void take_results(EngineStep& step, size_t chunk);
  bool take_echo(Sequence& leader, const LogitsRows& rows);
  void take_hidden(Sequence& sequence, uint32_t position, std::span<const float> hidden);
  void take_row(Sequence& leader, const StepRow& row);
  void take_drafted(Sequence& sequence, uint32_t drafted, const StepRows& rows);
  void sample(Sequence& sequence, const StepRow& row);
  Result<TokenId> choose(Sequence& sequence, const StepRow& row);
  void end_choice(Sequence& sequence, ipc::FinishReason reason);
  void end_all_choices(Request& request, ipc::FinishReason reason);
  void fail_request(Request& request, const Error& error);
  void end_request(Request& request);
  void forget_ended();

  Backend& backend_;
  const Tokenizer& tokenizer_;
  const Result<ChatTemplate>& chat_;
  EngineOptions options_;
  EventSink& sink_;
  Scheduler scheduler_;
  Sampler sampler_;
  Teller teller_;
  uint32_t token_bytes_max_;
  Constraints constraints_;
  std::vector<TokenId> end_tokens_;  // all that end a generation
  DrawRule draw_rule_;
  StepBudget budget_;
  Speculator speculator_;
  StepPipeline steps_;
  std::unordered_map<ipc::RequestId, std::unique_ptr<Request>> requests_;
  std::deque<ipc::RequestId> only_told_;  // those that want their prompt told and nothing computed
  // Have ended. Kept until no plan under way can name their sequences: a later step was started when the
  // first `ended_before_` of them had ended.
  std::vector<std::unique_ptr<Request>> ended_;
  size_t ended_before_ = 0;
  uint64_t arrivals_ = 0;
  uint64_t steps_done_ = 0;
  double step_seconds_ = 0;
  uint64_t prompt_tokens_total_ = 0;
  uint64_t generated_tokens_total_ = 0;
  std::string text_;  // kept for its memory
};

}  // namespace deepserve::runner
