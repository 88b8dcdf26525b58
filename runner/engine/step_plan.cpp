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
  const bool decodes_only = limits.stale && plan.decodes > 0;
  if (!decodes_only) take_prefills(limits, plan);
  for (const auto& chunk : plan.chunks) chunk.sequence->last_step = step_;
  promotion_debt_ -= std::min<uint64_t>(promotion_debt_, plan.decodes + plan.prefill_tokens);
}

// Those who decode in the class of the first prefill or above are not to be held up by it; it has the time of
// those below that it keeps from decoding.
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
  struct Decodes {
    uint32_t count = 0;
    uint64_t context_tokens = 0;
    void add(const Sequence& sequence) {
      ++count;
      context_tokens += sequence.size();
    }
  };
  Decodes beside, going_along, all;
  for (const Sequence* sequence : running_) {
    if (prefills(sequence) || sequence->is_complete()) continue;
    const bool lower = sequence->priority.service_class > first_class;
    if (!lower) beside.add(*sequence);
    if (!lower || passed_over_for_long(*sequence)) going_along.add(*sequence);
    all.add(*sequence);
  }
  const double freed_seconds =
      budget.freed_seconds(all.count, all.context_tokens, going_along.count, going_along.context_tokens);
  PrefillLimits limits = budget.prefill(beside.count, beside.context_tokens, prefilling, freed_seconds);
  // Who has waited so far gets in before anything is measured.
  if (first_class == ipc::Class::kVip && !waiting_.empty()) limits.stale = false;
  return limits;
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

bool Scheduler::passed_over_for_long(const Sequence& sequence) const {
  return step_ - sequence.last_step > kPassedOverMax;
}

// Who could decode and does not: lower classes beside a prefill, beside vip work those for whom the step has
// no time, and those that end with the step under way.
void Scheduler::choose_decodes(const StepBudget& budget) {
  lower_.clear();
  if (running_.empty()) return;
  const bool beside_vip = running_.front()->priority.service_class == ipc::Class::kVip;
  auto prefilling = ipc::Class::kCount;
  uint32_t decodes = 0;
  uint64_t context_tokens = 0;
  for (Sequence* sequence : running_) {  // the highest class comes first
    const auto service_class = sequence->priority.service_class;
    if (prefills(sequence)) {
      prefilling = std::min(prefilling, service_class);
      continue;
    }
    sequence->sits_out =
        sequence->is_complete() || (service_class > prefilling && !passed_over_for_long(*sequence));
    if (sequence->sits_out) continue;
    if (beside_vip && service_class != ipc::Class::kVip) {
      lower_.push_back(sequence);
      continue;
    }
    ++decodes;
    context_tokens += sequence->size();
  }
  std::ranges::sort(lower_, {}, [](const Sequence* s) { return std::tuple(s->last_step, s->priority); });
  bool first = true;
  for (Sequence* sequence : lower_) {
    const bool in_time = !budget.too_long(decodes + 1, context_tokens + sequence->size());
    sequence->sits_out = !in_time && !(first && passed_over_for_long(*sequence));
    first = false;
    if (sequence->sits_out) continue;
    ++decodes;
    context_tokens += sequence->size();
  }
}

void Scheduler::take_decodes(const StepBudget& budget, StepPlan& plan) {
  choose_decodes(budget);
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (prefills(&sequence) || sequence.sits_out) continue;
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
