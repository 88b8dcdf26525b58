#include "runner/engine/scheduler.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

constexpr uint32_t kTriesMax = 8;        // sequences that are tried in one step and do not fit
constexpr uint32_t kGrowthBitsMax = 12;  // a sequence asks for at most 2^12 blocks of room to grow
constexpr uint32_t kPatienceBitsMax = 8;
constexpr uint32_t kEndsPerHalving = 4;  // of that room

Priority priority_of(const Sequence* sequence) {
  return sequence->priority;
}

void insert_by_priority(std::vector<Sequence*>& list, Sequence& sequence) {
  list.insert(std::ranges::lower_bound(list, sequence.priority, {}, priority_of), &sequence);
}

void erase_from(std::vector<Sequence*>& list, const Sequence& sequence) {
  const auto place = std::ranges::lower_bound(list, sequence.priority, {}, priority_of);
  CHECK(place != list.end() && *place == &sequence);
  list.erase(place);
}

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits, uint32_t blocks, uint32_t block_tokens)
    : limits_(limits), pool_(blocks, block_tokens) {
  CHECK(limits.sequences_max > 0 && limits.step_tokens_max >= limits.sequences_max);
}

void Scheduler::add(Sequence& sequence) {
  CHECK(sequence.phase == SequencePhase::kNew && sequence.pending() > 0);
  sequence.phase = SequencePhase::kWaiting;
  sequence.waiting_since = step_;
  sequence.likely_cached = static_cast<uint32_t>(find(sequence).size()) * pool_.block_tokens();
  insert_by_priority(waiting_, sequence);
}

void Scheduler::remove(Sequence& sequence) {
  if (sequence.phase == SequencePhase::kRunning) {
    erase_from(running_, sequence);
    release_blocks(sequence);
    if (++ends_ % kEndsPerHalving == 0 && growth_bits_ > 0) --growth_bits_;
  } else if (sequence.phase == SequencePhase::kWaiting) {
    erase_from(waiting_, sequence);
  }
  sequence.phase = SequencePhase::kEnded;
}

void Scheduler::set_rank(Sequence& sequence, uint16_t rank) {
  std::vector<Sequence*>* list = nullptr;
  if (sequence.phase == SequencePhase::kRunning) list = &running_;
  if (sequence.phase == SequencePhase::kWaiting) list = &waiting_;
  if (list != nullptr) erase_from(*list, sequence);
  sequence.priority.rank = rank;
  if (list != nullptr) insert_by_priority(*list, sequence);
}

bool Scheduler::fork(const Sequence& leader, Sequence& sibling) {
  CHECK(leader.phase == SequencePhase::kRunning && sibling.phase == SequencePhase::kWaiting);
  if (running_.size() >= limits_.sequences_max || pool_.available() <= running()) return false;
  erase_from(waiting_, sibling);
  sibling.blocks.assign(leader.blocks.begin(), leader.blocks.begin() + pool_.blocks_for(leader.computed));
  for (const BlockId block : sibling.blocks) pool_.share(block);
  sibling.computed = leader.computed;
  sibling.remembered = leader.remembered;
  sibling.last_step = step_;
  sibling.phase = SequencePhase::kRunning;
  insert_by_priority(running_, sibling);
  return true;
}

// Where another sequence has computed the same block, that one takes the place of this one's own: results do
// not depend on who computed them (DESIGN 8).
void Scheduler::remember(Sequence& sequence) {
  if (!limits_.prefix_cache || sequence.phase != SequencePhase::kRunning) return;
  const uint32_t block_tokens = pool_.block_tokens();
  for (; (sequence.remembered + 1) * block_tokens <= sequence.computed; ++sequence.remembered) {
    const auto parent = parent_of(sequence, sequence.remembered);
    const auto tokens = std::span(sequence.tokens).subspan(sequence.remembered * block_tokens, block_tokens);
    BlockId& own = sequence.blocks[sequence.remembered];
    const auto known = pool_.index().find(parent, tokens);
    if (!known) {
      pool_.remember(own, parent, tokens);
    } else if (*known != own) {
      pool_.share(*known);
      pool_.release(own);
      own = *known;
    }
  }
}

void Scheduler::forget(Sequence& sequence) {
  for (uint32_t i = sequence.remembered; i > 0; --i) {
    if (pool_.references(sequence.blocks[i - 1]) == 1) pool_.forget(sequence.blocks[i - 1]);
  }
  sequence.remembered = 0;
}

PrefixParent Scheduler::parent_of(const Sequence& sequence, uint32_t block) const {
  if (block == 0) return PrefixParent::of_salt(sequence.salt);
  return pool_.index().parent_of_next(sequence.blocks[block - 1]);
}

uint32_t Scheduler::reserve(Sequence& sequence, uint32_t tokens) {
  const uint32_t held = sequence.computed + 1;
  while (sequence.blocks.size() < pool_.blocks_for(held + tokens) && pool_.available() > running_.size()) {
    sequence.blocks.push_back(pool_.take());
  }
  const auto places = static_cast<uint32_t>(sequence.blocks.size()) * pool_.block_tokens();
  return std::min(tokens, places - held);
}

// The blocks that a waiting sequence would find computed, in order. Valid until the next call.
std::span<const BlockId> Scheduler::find(const Sequence& candidate) {
  found_.clear();
  if (!limits_.prefix_cache) return found_;
  const uint32_t block_tokens = pool_.block_tokens();
  auto parent = PrefixParent::of_salt(candidate.salt);
  for (uint32_t end = block_tokens; end <= candidate.reusable(); end += block_tokens) {
    const auto tokens = std::span(candidate.tokens).subspan(end - block_tokens, block_tokens);
    const auto block = pool_.index().find(parent, tokens);
    if (!block) break;
    found_.push_back(*block);
    parent = pool_.index().parent_of_next(*block);
  }
  return found_;
}

// Work of the lowest class that has waited for so long, all times together, counts as normal from now on. It
// goes before all normal work that came later, and so only a part of what there is may.
void Scheduler::promote_starved() {
  if (promotion_debt_ > 0) return;
  for (size_t i = waiting_.size(); i > 0; --i) {
    Sequence& sequence = *waiting_[i - 1];
    if (sequence.priority.service_class != ipc::Class::kBatch) return;  // the rest is of higher classes
    if (sequence.steps_waited + (step_ - sequence.waiting_since) < kStarved) continue;
    waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(i - 1));
    sequence.priority.service_class = ipc::Class::kNormal;
    insert_by_priority(waiting_, sequence);
    promotion_debt_ = kStarvedPart * sequence.pending();
    return;
  }
}

void Scheduler::admit(const PrefillLimits& limits) {
  const Sequence* passed = nullptr;
  uint32_t tries = 0;
  for (size_t i = 0; i < waiting_.size();) {
    Sequence& candidate = *waiting_[i];
    if (passed != nullptr && candidate.priority.service_class > passed->priority.service_class) return;
    if (running() >= limits_.sequences_max && !may_preempt(candidate, *running_.back())) return;
    if (candidate.awaits_leader || !gets_prefill(candidate, limits)) {
      ++i;
    } else if (make_room(candidate)) {
      seat(candidate);
    } else {
      // What was preempted must not lose to others what was taken from it; nobody is passed for long.
      if (candidate.preemptions > 0 || step_ - candidate.waiting_since >= kPassedByMax) return;
      if (++tries == kTriesMax) return;
      if (passed == nullptr) passed = &candidate;
      ++i;
    }
  }
}

void Scheduler::seat(Sequence& candidate) {
  erase_from(waiting_, candidate);
  const auto found = find(candidate);
  candidate.blocks.assign(found.begin(), found.end());
  for (const BlockId block : found) pool_.share(block);
  candidate.remembered = static_cast<uint32_t>(found.size());
  candidate.computed = candidate.remembered * pool_.block_tokens();
  if (!candidate.cached_tokens) {
    candidate.cached_tokens = candidate.computed;
    prefix_hits_ += candidate.computed;
    if (limits_.prefix_cache && candidate.reuses_prefix) prefix_queries_ += candidate.size();
  }
  const uint32_t blocks = pool_.blocks_for(candidate.size());
  while (candidate.blocks.size() < blocks) candidate.blocks.push_back(pool_.take());
  candidate.steps_waited += step_ - candidate.waiting_since;
  candidate.last_step = step_;
  candidate.phase = SequencePhase::kRunning;
  insert_by_priority(running_, candidate);
}

// Beside the first `running` of those that run. `in_use`: of the blocks that it finds computed, how many
// others hold: they take nothing away.
bool Scheduler::fits(const Sequence& candidate, uint32_t in_use, uint32_t running, uint32_t available) const {
  if (running >= limits_.sequences_max) return false;
  const uint32_t held = pool_.blocks_for(candidate.size());
  const uint64_t needed = held - in_use;
  if (running == 0) return needed <= available;
  uint64_t growth = 1 + running;
  if (!takes_turns(candidate)) {
    growth = growth_of(candidate);
    for (uint32_t i = 0; i < running; ++i) growth += growth_of(*running_[i]);
  }
  return needed + growth <= available;
}

// The blocks that are kept for what `sequence` will generate.
uint32_t Scheduler::growth_of(const Sequence& sequence) const {
  const uint32_t left = pool_.blocks_for(sequence.tokens_final) - pool_.blocks_for(sequence.size());
  return std::min(1u << growth_bits_, std::max(left, 1u));
}

bool Scheduler::may_preempt(const Sequence& candidate, const Sequence& victim) const {
  const Priority& first = candidate.priority;
  const Priority& other = victim.priority;
  if (first.service_class != other.service_class) return first.service_class < other.service_class;
  return first.rank == 0 && other.rank > 0 && waited_long(candidate);
}

bool Scheduler::waited_long(const Sequence& candidate) const {
  return step_ - candidate.waiting_since >= kPatience << std::min(candidate.preemptions, kPatienceBitsMax);
}

// It has waited for long while some request of its class runs several choices.
bool Scheduler::takes_turns(const Sequence& candidate) const {
  if (!waited_long(candidate)) return false;
  return std::ranges::any_of(running_, [&](const Sequence* sequence) {
    return sequence->priority.service_class == candidate.priority.service_class &&
           may_preempt(candidate, *sequence);
  });
}

// Were all of them preempted: also the blocks that only they share.
uint32_t Scheduler::blocks_freed_by(std::span<Sequence* const> victims) {
  held_blocks_.clear();
  for (const Sequence* victim : victims) {
    held_blocks_.insert(held_blocks_.end(), victim->blocks.begin(), victim->blocks.end());
  }
  std::ranges::sort(held_blocks_);
  uint32_t freed = 0;
  for (auto first = held_blocks_.begin(); first != held_blocks_.end();) {
    const auto next = std::find_if(first, held_blocks_.end(), [&](BlockId block) { return block != *first; });
    freed += static_cast<uint32_t>(next - first) == pool_.references(*first) ? 1 : 0;
    first = next;
  }
  return freed;
}

bool Scheduler::make_room(const Sequence& candidate) {
  const auto found = find(candidate);
  const auto in_use = [&](const auto& stays) {
    return static_cast<uint32_t>(std::ranges::count_if(found, stays));
  };
  const auto fits_now = [&] {
    const uint32_t used = in_use([&](BlockId block) { return pool_.references(block) > 0; });
    return fits(candidate, used, running(), pool_.available());
  };
  if (fits_now()) return true;
  // Whom it may preempt comes last.
  const auto stay_end = std::ranges::find_if(
      running_, [&](const Sequence* sequence) { return may_preempt(candidate, *sequence); });
  const uint32_t freed = blocks_freed_by({stay_end, running_.end()});
  const uint32_t stay_used = in_use([&](BlockId block) {
    const auto holds = [block](const Sequence* sequence) {
      return std::ranges::find(sequence->blocks, block) != sequence->blocks.end();
    };
    return std::any_of(running_.begin(), stay_end, holds);
  });
  const auto stay = static_cast<uint32_t>(stay_end - running_.begin());
  if (stay == running() || !fits(candidate, stay_used, stay, pool_.available() + freed)) return false;
  while (!fits_now()) {
    if (running() == stay) return false;
    preempt(*running_.back());
  }
  return true;
}

// Gives a decoding sequence a block of its own for its next token. False: it was preempted itself.
bool Scheduler::extend(Sequence& sequence, StepPlan& plan) {
  const uint32_t index = sequence.computed / pool_.block_tokens();
  if (index == sequence.blocks.size()) {
    if (!free_one_block(sequence)) return false;
    sequence.blocks.push_back(pool_.take());
    return true;
  }
  CHECK(index < sequence.blocks.size());
  if (pool_.references(sequence.blocks[index]) == 1) return true;
  if (!free_one_block(sequence)) return false;
  const BlockId shared = sequence.blocks[index];
  if (pool_.references(shared) == 1) return true;  // those who shared it were preempted for the copy
  const BlockId own = pool_.take();
  plan.copies.push_back({shared, own});
  pool_.release(shared);
  sequence.blocks[index] = own;
  return true;
}

// Preempts from the lowest priority up until a block is there. False when that reached `sequence` itself.
bool Scheduler::free_one_block(const Sequence& sequence) {
  if (pool_.available() == 0) growth_bits_ = std::min(growth_bits_ + 1, kGrowthBitsMax);
  while (pool_.available() == 0) {
    Sequence& victim = *running_.back();
    preempt(victim);
    if (&victim == &sequence) return false;
  }
  return true;
}

void Scheduler::preempt(Sequence& sequence) {
  erase_from(running_, sequence);
  release_blocks(sequence);
  sequence.phase = SequencePhase::kWaiting;
  sequence.waiting_since = step_;
  sequence.likely_cached = 0;
  ++sequence.preemptions;
  insert_by_priority(waiting_, sequence);
  ++preemptions_;
}

// From the last to the first: so they also go.
void Scheduler::release_blocks(Sequence& sequence) {
  for (size_t i = sequence.blocks.size(); i > 0; --i) pool_.release(sequence.blocks[i - 1]);
  sequence.blocks.clear();
  sequence.computed = 0;
  sequence.remembered = 0;
}

void Scheduler::check_accounting() const {
  pool_.check_accounting();
  counted_.assign(pool_.total(), 0);
  for (const Sequence* sequence : running_) {
    CHECK(sequence->phase == SequencePhase::kRunning);
    CHECK(sequence->blocks.size() >= pool_.blocks_for(sequence->computed));
    CHECK(sequence->remembered * pool_.block_tokens() <= sequence->computed);
    for (const BlockId block : sequence->blocks) ++counted_[block];
    for (uint32_t i = 0; i < sequence->remembered; ++i) CHECK(pool_.index().knows(sequence->blocks[i]));
  }
  for (const Sequence* sequence : waiting_) {
    CHECK(sequence->phase == SequencePhase::kWaiting && sequence->blocks.empty() && sequence->computed == 0);
  }
  for (BlockId block = 0; block < pool_.total(); ++block) CHECK(counted_[block] == pool_.references(block));
}

}  // namespace deepserve::runner
