// How a Scheduler fills the plan of a step.
#include <algorithm>
#include <tuple>

#include "runner/engine/scheduler.h"

namespace deepserve::runner {
namespace {

constexpr double kFirstShare = 0.5;         // of a step's prefill, for the first in priority of its class
constexpr double kPassedOverShare = 0.125;  // and for one that was passed over for too long

bool prefills(const Sequence* sequence) {
  return sequence->pending() > 1;
}

}  // namespace

void StepPlan::clear() {
  chunks.clear();
  copies.clear();
  decodes = 0;
  context_tokens = 0;
  prefill_tokens = 0;
  drafts = 0;
  prefill_pairs = 0;
}

void Scheduler::plan(const StepBudget& budget, StepPlan& plan) {
  ++step_;
  plan.clear();
  promote_starved();
  const PrefillLimits limits = limits_of(budget);
  admit(limits);
  take_decodes(budget, plan);
  take_prefills(limits, plan);
  for (const auto& chunk : plan.chunks) chunk.sequence->last_step = step_;
}

// Those who decode in the class of the first prefill or above are not to be held up by it.
PrefillLimits Scheduler::limits_of(const StepBudget& budget) const {
  auto first_class = ipc::Class::kCount;
  uint32_t prefilling = 0;
  uint32_t seats = limits_.sequences_max - running();
  for (const Sequence* sequence : running_) {
    if (!prefills(sequence)) continue;
    first_class = std::min(first_class, sequence->priority.service_class);
    ++prefilling;
  }
  for (const Sequence* sequence : waiting_) {
    if (sequence->awaits_leader) continue;
    first_class = std::min(first_class, sequence->priority.service_class);
    if (seats == 0) break;
    --seats;
    ++prefilling;
  }
  uint32_t decodes = 0;
  uint64_t context_tokens = 0;
  for (const Sequence* sequence : running_) {
    if (prefills(sequence) || sequence->priority.service_class > first_class) continue;
    ++decodes;
    context_tokens += sequence->size();
  }
  return budget.prefill(decodes, context_tokens, prefilling);
}

// Whether running prefills leave some of a step's to `candidate`: all of higher classes and the shorter ones
// of its own go before it, of a longer one its half.
bool Scheduler::gets_prefill(const Sequence& candidate, const PrefillLimits& limits) const {
  const auto service_class = candidate.priority.service_class;
  const uint32_t wanted = candidate.size() - std::min(candidate.likely_cached, candidate.size() - 1);
  double cost = 0;
  uint64_t tokens = 0;
  uint64_t chunks = 0;
  bool longer = false;
  for (const Sequence* sequence : running_) {
    if (sequence->priority.service_class > service_class) break;
    if (!prefills(sequence)) {
      ++tokens;
      continue;
    }
    if (sequence->priority.service_class == service_class && wanted < sequence->pending()) {
      longer = true;
      continue;
    }
    const uint32_t chunk = sequence->chunk_max(limits.scored_rows);
    cost += limits.price.of(sequence->computed, chunk);
    tokens += chunk;
    chunks += chunk;
  }
  if (longer) cost += kFirstShare * limits.cost;
  return cost < limits.cost && tokens < limits_.step_tokens_max && chunks < limits.tokens_max;
}

bool Scheduler::is_held(const Sequence& sequence, ipc::Class prefilling) const {
  return sequence.priority.service_class > prefilling && step_ - sequence.last_step <= kPassedOverMax;
}

void Scheduler::take_decodes(const StepBudget& budget, StepPlan& plan) {
  auto prefilling = ipc::Class::kCount;
  for (const Sequence* sequence : running_) {  // the highest class comes first
    if (!prefills(sequence)) continue;
    prefilling = sequence->priority.service_class;
    break;
  }
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (prefills(&sequence) || is_held(sequence, prefilling)) continue;
    const bool beside_vip = running_.front()->priority.service_class == ipc::Class::kVip;
    if (beside_vip && is_held(sequence, ipc::Class::kVip) &&
        budget.too_long(plan.decodes + 1, plan.context_tokens + sequence.size())) {
      continue;
    }
    if (!extend(sequence, plan)) break;  // it was the last in priority, and is gone
    plan.chunks.push_back({&sequence, 1});
    ++plan.decodes;
    plan.context_tokens += sequence.size();
  }
}

void Scheduler::take_prefills(const PrefillLimits& limits, StepPlan& plan) {
  prefills_.clear();
  for (Sequence* sequence : running_) {
    if (prefills(sequence)) prefills_.push_back({sequence, 0});
  }
  if (prefills_.empty()) return;
  const Sequence* first = prefills_.front().sequence;
  std::ranges::sort(prefills_, {}, [](const Prefill& prefill) {
    const Sequence& sequence = *prefill.sequence;
    return std::tuple(sequence.priority.service_class, sequence.pending(), sequence.priority);
  });
  Share share{limits, std::min(limits.tokens_max, limits_.step_tokens_max - plan.decodes)};
  for (Prefill& prefill : prefills_) {
    if (step_ - prefill.sequence->last_step <= kPassedOverMax) continue;
    give(prefill, kPassedOverShare * limits.cost, share);
    break;
  }
  for (Prefill& prefill : prefills_) {
    if (prefill.sequence == first && prefills_.front().sequence != first) {
      give(prefill, kFirstShare * limits.cost, share);
    }
  }
  for (Prefill& prefill : prefills_) give(prefill, share.left.cost, share);
  for (const Prefill& prefill : prefills_) {
    if (prefill.tokens == 0) continue;
    plan.chunks.push_back({prefill.sequence, prefill.tokens});
    plan.prefill_tokens += prefill.tokens;
    plan.prefill_pairs += PrefillPrice::pairs(prefill.sequence->computed, prefill.tokens);
  }
}

// More of the step, for at most `cost_max` of what is left of it.
void Scheduler::give(Prefill& prefill, double cost_max, Share& share) {
  const Sequence& sequence = *prefill.sequence;
  PrefillLimits& left = share.left;
  const uint32_t scored = sequence.scored_rows(prefill.tokens);
  const uint32_t wanted = sequence.chunk_max(left.scored_rows + scored) - prefill.tokens;
  const uint32_t most = std::min(wanted, share.tokens);
  const uint32_t position = sequence.computed + prefill.tokens;
  uint32_t tokens = left.price.affordable(std::min(cost_max, left.cost), position, most);
  tokens = std::max(tokens, std::min(most, left.tokens_min));
  if (tokens == 0) return;
  left.tokens_min -= std::min(left.tokens_min, tokens);
  left.cost -= left.price.of(position, tokens);
  share.tokens -= tokens;
  prefill.tokens += tokens;
  left.scored_rows -= sequence.scored_rows(prefill.tokens) - scored;
}

}  // namespace deepserve::runner
