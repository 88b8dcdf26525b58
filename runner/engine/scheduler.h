// Decides what runs in the next step, and owns who holds which KV block. Pure: no device, no clock, no
// tokens' text.
//
// Each step: (1) waiting sequences are admitted in the order of their priority while there are seats, blocks
// and prefill budget; one that does not fit keeps those behind it waiting, but may preempt sequences of a
// lower class. (2) Every sequence that decodes goes in; where one needs a block and none is free, the lowest
// in priority is preempted: its blocks are freed and it waits to be recomputed. (3) What is left of the
// budget goes to prefills, in the order of their priority, as chunks. A sequence whose request passed
// RequestLimits always fits when it is alone, so that the first in priority always makes progress.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runner/engine/block_pool.h"
#include "runner/engine/sequence.h"

namespace deepserve::runner {

struct SchedulerLimits {
  uint32_t sequences_max = 1;    // seats
  uint32_t step_tokens_max = 1;  // at least sequences_max: what decodes always fits
};

struct ScheduledChunk {
  Sequence* sequence = nullptr;
  uint32_t tokens = 0;  // from sequence->computed on
};

struct BlockCopy {
  BlockId from = 0;
  BlockId to = 0;
};

struct StepPlan {
  std::vector<ScheduledChunk> chunks;
  std::vector<BlockCopy> copies;  // to be done in this order, before the step
  uint32_t decodes = 0;
  uint32_t prefill_tokens = 0;

  void clear();
};

class Scheduler {
 public:
  Scheduler(const SchedulerLimits& limits, uint32_t blocks, uint32_t block_tokens);

  // `sequence` is borrowed until it is removed.
  void add(Sequence& sequence);
  // It ends: its blocks are free.
  void remove(Sequence& sequence);
  // Gives `sibling`, which waits, a seat and the leader's blocks, shared, for the `tokens` that the leader
  // has computed. False when no seat is free.
  bool fork(const Sequence& leader, Sequence& sibling);

  // Fills `plan` with at most step_tokens_max tokens, of which at most `prefill_tokens_max` are not decodes;
  // prefills ask for the logits of at most `scored_rows_max` positions (at least 1).
  void plan(uint32_t prefill_tokens_max, uint32_t scored_rows_max, StepPlan& plan);

  bool empty() const { return running_.empty() && waiting_.empty(); }
  uint32_t running() const { return static_cast<uint32_t>(running_.size()); }
  uint32_t waiting() const { return static_cast<uint32_t>(waiting_.size()); }
  uint64_t preemptions() const { return preemptions_; }
  const BlockPool& pool() const { return pool_; }
  // CHECKs that every block's references are those of the running sequences and that used + free = total.
  void check_accounting() const;

 private:
  void admit(uint32_t prefill_tokens_max, uint32_t scored_rows_max);
  bool make_room(const Sequence& candidate);
  bool fits(const Sequence& candidate, uint32_t running, uint32_t free_blocks) const;
  uint64_t prefill_tokens_before(const Sequence& candidate, uint32_t scored_rows_max) const;
  bool extend(Sequence& sequence, StepPlan& plan);
  bool free_one_block(const Sequence& sequence);
  void preempt(Sequence& sequence);
  void release_blocks(Sequence& sequence);

  SchedulerLimits limits_;
  BlockPool pool_;
  std::vector<Sequence*> running_;  // both by priority, the first first
  std::vector<Sequence*> waiting_;
  uint64_t preemptions_ = 0;
};

}  // namespace deepserve::runner
