// The steps of an engine on their way through the backend: one after the other, or, where the backend can,
// the next one started before the one before it is over, so that the device need not wait while its results
// are told and what comes next is thought out.
//
// A step that is started ahead takes every sequence of the one under way for a token longer than it is known
// to be: the backend puts in what it draws. It may draw an end, or what the sequence's text ends at; then the
// row was for nothing, and is thrown away. Where more than the token must be known before the next one can be
// asked for (a constraint, penalties, choices that begin with what their first one draws, drafts, what is
// told of a prompt), steps come one by one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "runner/engine/engine.h"
#include "runner/engine/scheduler.h"
#include "runner/engine/speculator.h"
#include "runner/engine/step_batch.h"
#include "runner/engine/step_budget.h"

namespace deepserve::runner {

// Kept from step to step for its memory.
struct EngineStep {
  EngineStep(Backend& backend, const DrawRule& rule) : batch(backend, rule) {}

  StepPlan plan;
  StepBatch batch;
  bool is_built = false;  // the batch, of the plan as it is
  uint64_t begin_ns = 0;
  double seconds_expected = 0;     // 0: nothing is known
  std::optional<bool> goes_ahead;  // the next one, once that was decided
  // Its sequences stand where they will be when it is over: a later step was planned by that.
  bool taken_for_done = false;
};

class StepPipeline {
 public:
  // All must outlive the pipeline. `budget` and `speculator` are told what steps take.
  StepPipeline(Backend& backend, const DrawRule& rule, Scheduler& scheduler, StepBudget& budget,
               Speculator& speculator, bool may_run_ahead);

  bool empty() const { return count_ == 0; }
  // One step is under way, and the next may be planned and started before it is over. The results of all
  // steps before it must have been taken.
  bool may_go_ahead();
  // When that should be, so that the device goes on without a pause and what comes until then is still part
  // of the next step; 0: there is nothing to wait for.
  uint64_t next_start_ns();

  // Plans the next step, behind the one under way if there is one. False: there is nothing that it could run.
  bool plan();
  const StepPlan& planned() { return next().plan; }
  // What was planned gives more than tokens: the step under way must be finished, and its results taken,
  // before it is started.
  bool must_wait();
  // That step is over: takes those out of what was planned that have ended with it. False: nothing is left.
  bool drop_ended();
  // Starts what was planned. Errors are the backend's, and the end of all steps.
  Result<void> start();
  // Waits for the step that was started first. Valid until the second plan() from here. Errors as above.
  Result<EngineStep*> finish();
  // What is under way is over, as the backend is.
  void give_up() { count_ = 0; }

  double backend_seconds() const { return backend_seconds_; }  // that start() and finish() took

 private:
  EngineStep& under_way() { return steps_[first_]; }
  EngineStep& next() { return steps_[(first_ + count_) % steps_.size()]; }
  void build(EngineStep& step);
  void take_for_done(EngineStep& step);
  double expected_seconds(const StepPlan& plan) const;
  void measure(const StepPlan& plan, double seconds);

  Backend& backend_;
  Scheduler& scheduler_;
  StepBudget& budget_;
  Speculator& speculator_;
  const bool runs_ahead_;
  std::array<EngineStep, 2> steps_;
  size_t first_ = 0;  // of those under way
  size_t count_ = 0;
  double backend_seconds_ = 0;
};

}  // namespace deepserve::runner
