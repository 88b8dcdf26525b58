#include "runner/engine/scheduler.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

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

void StepPlan::clear() {
  chunks.clear();
  copies.clear();
  decodes = 0;
  prefill_tokens = 0;
}

Scheduler::Scheduler(const SchedulerLimits& limits, uint32_t blocks, uint32_t block_tokens)
    : limits_(limits), pool_(blocks, block_tokens) {
  CHECK(limits.sequences_max > 0 && limits.step_tokens_max >= limits.sequences_max);
}

void Scheduler::add(Sequence& sequence) {
  CHECK(sequence.phase == SequencePhase::kNew && sequence.pending() > 0);
  sequence.phase = SequencePhase::kWaiting;
  insert_by_priority(waiting_, sequence);
}

void Scheduler::remove(Sequence& sequence) {
  if (sequence.phase == SequencePhase::kRunning) {
    erase_from(running_, sequence);
    release_blocks(sequence);
  } else if (sequence.phase == SequencePhase::kWaiting) {
    erase_from(waiting_, sequence);
  }
  sequence.phase = SequencePhase::kEnded;
}

bool Scheduler::fork(const Sequence& leader, Sequence& sibling) {
  CHECK(leader.phase == SequencePhase::kRunning && sibling.phase == SequencePhase::kWaiting);
  if (running_.size() >= limits_.sequences_max) return false;
  erase_from(waiting_, sibling);
  sibling.blocks.assign(leader.blocks.begin(), leader.blocks.begin() + pool_.blocks_for(leader.computed));
  for (const BlockId block : sibling.blocks) pool_.share(block);
  sibling.computed = leader.computed;
  sibling.phase = SequencePhase::kRunning;
  insert_by_priority(running_, sibling);
  return true;
}

void Scheduler::plan(uint32_t prefill_tokens_max, uint32_t scored_rows_max, StepPlan& plan) {
  plan.clear();
  const auto decodes = std::ranges::count_if(running_, [](const Sequence* s) { return s->pending() == 1; });
  admit(std::min(limits_.step_tokens_max - static_cast<uint32_t>(decodes), prefill_tokens_max),
        scored_rows_max);
  for (size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.pending() != 1) continue;
    if (!extend(sequence, plan)) break;  // it was the last in priority, and is gone
    plan.chunks.push_back({&sequence, 1});
    ++plan.decodes;
  }
  uint32_t budget = std::min(limits_.step_tokens_max - plan.decodes, prefill_tokens_max);
  uint32_t rows = scored_rows_max;
  for (Sequence* sequence : running_) {
    if (budget == 0) break;
    if (sequence->pending() == 1) continue;
    const uint32_t tokens = std::min(sequence->chunk_max(rows), budget);
    if (tokens == 0) continue;  // those before it score all that this step may
    plan.chunks.push_back({sequence, tokens});
    plan.prefill_tokens += tokens;
    budget -= tokens;
    rows -= sequence->scored_rows(tokens);
  }
}

// Tokens of prefill that running sequences would take of a step ahead of `candidate`.
uint64_t Scheduler::prefill_tokens_before(const Sequence& candidate, uint32_t scored_rows_max) const {
  uint64_t tokens = 0;
  for (const Sequence* sequence : running_) {
    if (sequence->priority > candidate.priority) break;
    if (sequence->pending() > 1) tokens += sequence->chunk_max(scored_rows_max);
  }
  return tokens;
}

void Scheduler::admit(uint32_t prefill_tokens_max, uint32_t scored_rows_max) {
  for (size_t i = 0; i < waiting_.size();) {
    Sequence& candidate = *waiting_[i];
    if (candidate.awaits_leader) {
      ++i;
      continue;
    }
    if (prefill_tokens_before(candidate, scored_rows_max) >= prefill_tokens_max || !make_room(candidate))
      return;
    erase_from(waiting_, candidate);
    const uint32_t blocks = pool_.blocks_for(candidate.size());
    for (uint32_t block = 0; block < blocks; ++block) candidate.blocks.push_back(pool_.take());
    candidate.phase = SequencePhase::kRunning;
    insert_by_priority(running_, candidate);
  }
}

// One block is kept free for each sequence that runs beside it: each may need its next one soon, and
// admitting what must be preempted a few steps later is work for nothing.
bool Scheduler::fits(const Sequence& candidate, uint32_t running, uint32_t free_blocks) const {
  return running < limits_.sequences_max && pool_.blocks_for(candidate.size()) + running <= free_blocks;
}

bool Scheduler::make_room(const Sequence& candidate) {
  if (fits(candidate, running(), pool_.free())) return true;
  uint32_t higher = 0;
  uint32_t freed_blocks = 0;  // at least so many: a block that only victims share is not counted
  for (const Sequence* sequence : running_) {
    if (sequence->priority.service_class <= candidate.priority.service_class) {
      ++higher;
      continue;
    }
    freed_blocks += static_cast<uint32_t>(std::ranges::count_if(
        sequence->blocks, [this](BlockId block) { return pool_.references(block) == 1; }));
  }
  if (!fits(candidate, higher, pool_.free() + freed_blocks)) return false;
  while (!fits(candidate, running(), pool_.free())) {
    CHECK(running_.back()->priority.service_class > candidate.priority.service_class);
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

// Preempts from the lowest priority up until a block is free. False when that reached `sequence` itself.
bool Scheduler::free_one_block(const Sequence& sequence) {
  while (pool_.free() == 0) {
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
  insert_by_priority(waiting_, sequence);
  ++preemptions_;
}

void Scheduler::release_blocks(Sequence& sequence) {
  for (const BlockId block : sequence.blocks) pool_.release(block);
  sequence.blocks.clear();
  sequence.computed = 0;
}

void Scheduler::check_accounting() const {
  std::vector<uint32_t> references(pool_.total(), 0);
  for (const Sequence* sequence : running_) {
    CHECK(sequence->phase == SequencePhase::kRunning);
    CHECK(sequence->blocks.size() >= pool_.blocks_for(sequence->computed));
    for (const BlockId block : sequence->blocks) ++references[block];
  }
  for (const Sequence* sequence : waiting_) {
    CHECK(sequence->phase == SequencePhase::kWaiting && sequence->blocks.empty() && sequence->computed == 0);
  }
  uint32_t used = 0;
  for (BlockId block = 0; block < pool_.total(); ++block) {
    CHECK(references[block] == pool_.references(block));
    if (references[block] > 0) ++used;
  }
  CHECK(used + pool_.free() == pool_.total());
}

}  // namespace deepserve::runner
