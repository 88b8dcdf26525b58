#include "runner/engine/step_pipeline.h"

#include <algorithm>
#include <utility>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::runner {
namespace {

// A step is started so long before the one under way is expected to be over: what starting it takes, and how
// much earlier than expected that may be.
constexpr double kStartSeconds = 0.5e-3;
constexpr double kStartPart = 0.1;

double seconds_between(uint64_t begin_ns, uint64_t end_ns) {
  return static_cast<double>(end_ns - begin_ns) / static_cast<double>(kSecond_ns);
}

}  // namespace

StepPipeline::StepPipeline(Backend& backend, const DrawRule& rule, Scheduler& scheduler, StepBudget& budget,
                           Speculator& speculator, bool may_run_ahead)
    : backend_(backend),
      scheduler_(scheduler),
      budget_(budget),
      speculator_(speculator),
      runs_ahead_(may_run_ahead && backend.info().runs_ahead && backend.info().draws),
      steps_{EngineStep(backend, rule), EngineStep(backend, rule)} {}

bool StepPipeline::may_go_ahead() {
  if (!runs_ahead_ || count_ != 1) return false;
  EngineStep& step = under_way();
  if (!step.goes_ahead) {
    step.goes_ahead = step.batch.gives_tokens_alone() && !speculator_.expects_drafts(step.plan);
  }
  return *step.goes_ahead;
}

uint64_t StepPipeline::next_start_ns() {
  if (!may_go_ahead() || backend_.is_over()) return 0;
  const double seconds = (1 - kStartPart) * under_way().seconds_expected - kStartSeconds;
  return under_way().begin_ns + static_cast<uint64_t>(std::max(0.0, seconds) * double{kSecond_ns});
}

bool StepPipeline::plan() {
  CHECK(count_ < steps_.size());
  EngineStep& step = next();
  if (count_ > 0) take_for_done(under_way());
  scheduler_.plan(budget_, step.plan);
  step.is_built = false;
  if (count_ == 0) speculator_.add_drafts(step.plan, scheduler_);
  return !step.plan.chunks.empty();
}

bool StepPipeline::must_wait() {
  if (count_ == 0) return false;
  EngineStep& step = next();
  build(step);
  return step.batch.gives_values();
}

void StepPipeline::build(EngineStep& step) {
  if (std::exchange(step.is_built, true)) return;
  step.batch.build(step.plan, scheduler_.pool());
}

void StepPipeline::take_for_done(EngineStep& step) {
  CHECK(step.batch.gives_tokens_alone());
  if (std::exchange(step.taken_for_done, true)) return;
  for (size_t i = 0; i < step.plan.chunks.size(); ++i) {
    const ScheduledChunk& chunk = step.plan.chunks[i];
    Sequence& sequence = *chunk.sequence;
    if (sequence.phase != SequencePhase::kRunning) continue;  // it has ended since
    sequence.computed += chunk.tokens;
    if (const auto drawn = step.batch.drawn_token(i)) sequence.expect(*drawn);
  }
}

bool StepPipeline::drop_ended() {
  StepPlan& plan = next().plan;
  next().is_built = false;
  const auto has_ended = [](const ScheduledChunk& chunk) {
    return chunk.sequence->phase == SequencePhase::kEnded;
  };
  const uint32_t decodes = plan.decodes;
  for (uint32_t i = 0; i < decodes; ++i) {  // which come first
    if (!has_ended(plan.chunks[i])) continue;
    --plan.decodes;
    plan.context_tokens -= plan.chunks[i].sequence->size();
  }
  std::erase_if(plan.chunks, has_ended);
  return !plan.chunks.empty();
}

Result<void> StepPipeline::start() {
  EngineStep& step = next();
  CHECK(!step.plan.chunks.empty());
  build(step);
  step.taken_for_done = false;
  step.goes_ahead.reset();
  step.seconds_expected = expected_seconds(step.plan);
  step.begin_ns = monotonic_ns();
  TRY(step.batch.start(step.plan));
  backend_seconds_ += seconds_between(step.begin_ns, monotonic_ns());
  ++count_;
  return {};
}

// Where the next step may be started meanwhile, nobody need look at once when one is over: the device itself
// knows how long it took.
Result<EngineStep*> StepPipeline::finish() {
  CHECK(count_ > 0);
  EngineStep& step = under_way();
  const double device_before = backend_.device_seconds();
  const uint64_t begin_ns = monotonic_ns();
  TRY(backend_.finish());
  const uint64_t end_ns = monotonic_ns();
  backend_seconds_ += seconds_between(begin_ns, end_ns);
  measure(step.plan,
          runs_ahead_ ? backend_.device_seconds() - device_before : seconds_between(step.begin_ns, end_ns));
  first_ = (first_ + 1) % steps_.size();
  --count_;
  if (count_ > 0) under_way().begin_ns = end_ns;
  return &step;
}

void StepPipeline::measure(const StepPlan& plan, double seconds) {
  speculator_.add_step(plan, seconds);
  // A step with drafts is longer than its sequences make it: the model's figures are of steps without.
  if (plan.drafts > 0) return;
  budget_.add_step({.decodes = plan.decodes,
                    .context_tokens = plan.context_tokens,
                    .prefill_tokens = plan.prefill_tokens,
                    .prefill_pairs = plan.prefill_pairs,
                    .seconds = seconds});
}

double StepPipeline::expected_seconds(const StepPlan& plan) const {
  const SpeedModel& known = budget_.speed();
  double seconds = plan.decodes > 0 ? known.decode_seconds(plan.decodes, plan.context_tokens) : 0;
  if (plan.prefill_tokens > 0 && known.prefill_measured()) {
    const PrefillPrice price = known.prefill_price(plan.decodes > 0);
    seconds += price.token * plan.prefill_tokens + price.pair * plan.prefill_pairs;
  }
  return seconds;
}

}  // namespace deepserve::runner
