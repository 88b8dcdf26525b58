#include "runner/engine/speculator.h"

#include <algorithm>

namespace deepserve::runner {
namespace {

constexpr uint32_t kFollowedTokensMax = 256;  // of a prompt that is looked through, in one step

}  // namespace

void Speculator::add_drafts(StepPlan& plan, Scheduler& scheduler) {
  if (mode_ == Speculation::kOff || plan.prefill_tokens > 0) return;
  planner_.begin(plan.decodes, mode_ == Speculation::kAlways);
  for (auto& chunk : plan.chunks) {
    // Where not even drafts that are always right pay, nothing is looked up.
    if (planner_.tokens(1.0, DraftPlanner::kRowsMax) == 0) return;
    add_draft(plan, chunk, scheduler);
  }
}

bool Speculator::expects_drafts(const StepPlan& plan) {
  if (mode_ != Speculation::kAuto) return mode_ == Speculation::kAlways;
  if (plan.prefill_tokens > 0) return false;  // the next one may prefill, too
  planner_.begin(plan.decodes);
  for (const auto& chunk : plan.chunks) {
    if (planner_.tokens(1.0, DraftPlanner::kRowsMax) == 0) return false;
    if (chunk.sequence->phase != SequencePhase::kRunning) continue;
    // Of a draft its first token stands for the one that the step gives.
    if (propose(*chunk.sequence, step_tokens_max_ - plan.decodes).tokens > 1) return true;
  }
  return false;
}

// What may follow the tokens of `sequence`, as far as it pays.
Speculator::Proposal Speculator::propose(Sequence& sequence, uint32_t step_tokens_left) {
  const Request& request = *sequence.request;
  SequenceDrafts& drafts = sequence.drafts;
  // The first token of an answer may be sampled for other choices too; the last one needs nothing after it.
  const uint32_t sampled = sequence.continuation.tokens();
  if (!request.answers() || sampled == 0 || sampled + 1 >= request.tokens_limit) return {};
  if (!drafts.index.follow(sequence.tokens, kFollowedTokensMax)) return {};
  drafts.propose(sequence.tokens);
  if (drafts.match_tokens == 0) return {};
  const double hit_rate = drafts.history.hit_rate(drafts.match_tokens);
  const uint32_t tokens_max = std::min(request.tokens_limit - sampled - 1, step_tokens_left);
  return {planner_.tokens(hit_rate, std::min(drafts.proposed, tokens_max)), hit_rate};
}

void Speculator::add_draft(StepPlan& plan, ScheduledChunk& chunk, Scheduler& scheduler) {
  Sequence& sequence = *chunk.sequence;
  const auto [wanted, hit_rate] = propose(sequence, step_tokens_max_ - plan.decodes - plan.drafts);
  const uint32_t tokens = wanted > 0 ? scheduler.reserve(sequence, wanted) : 0;
  if (tokens == 0) return;
  sequence.drafts.append(sequence.tokens, tokens);
  chunk.tokens += tokens;
  plan.drafts += tokens;
  planner_.add(tokens, hit_rate);
}

void Speculator::add_step(const StepPlan& plan, double seconds) {
  if (mode_ == Speculation::kAuto && plan.prefill_tokens == 0)
    costs_.add(plan.decodes + plan.drafts, seconds);
}

}  // namespace deepserve::runner
