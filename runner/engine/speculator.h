// Adds drafts to the steps of the engine: speculative decoding where a draft token counts iff it is what the
// model itself samples at its index, so that text, log probabilities and all else that is told stay the same.
//
// A draft runs as a chunk behind the sequence's newest token, all of whose logits are wanted. The keys and
// values of what was not accepted are overwritten by what comes instead. Whatever shapes a choice (penalties,
// biases, constraints, stop strings, limits, seeds) applies as without drafts: each row is sampled in turn,
// after the tokens before it were taken.
#pragma once

#include <cstdint>

#include "runner/engine/engine.h"
#include "runner/engine/scheduler.h"
#include "runner/engine/speculation.h"

namespace deepserve::runner {

class Speculator {
 public:
  explicit Speculator(const EngineOptions& options)
      : mode_(options.speculation), step_tokens_max_(options.step_tokens_max), planner_(costs_) {}

  // Appends drafts to sequences that decode in `plan`, which may not prefill, and their rows to its chunks.
  void add_drafts(StepPlan& plan, Scheduler& scheduler);
  // Whether the step after one of `plan`, which is under way, is likely to have drafts: then what that one
  // gives must be known before the next is planned. The results of the steps before it must have been taken.
  bool expects_drafts(const StepPlan& plan);
  // What the step took.
  void add_step(const StepPlan& plan, double seconds);
  void count_drafted(uint32_t tokens) { drafted_total_ += tokens; }
  void count_accepted() { ++accepted_total_; }

  uint64_t drafted_total() const { return drafted_total_; }
  uint64_t accepted_total() const { return accepted_total_; }

 private:
  struct Proposal {
    uint32_t tokens = 0;  // that it pays to draft
    double hit_rate = 0;
  };
  Proposal propose(Sequence& sequence, uint32_t step_tokens_left);
  void add_draft(StepPlan& plan, ScheduledChunk& chunk, Scheduler& scheduler);

  Speculation mode_;
  uint32_t step_tokens_max_;
  StepCosts costs_;
  DraftPlanner planner_;
  uint64_t drafted_total_ = 0;
  uint64_t accepted_total_ = 0;
};

}  // namespace deepserve::runner
