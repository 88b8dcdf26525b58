// Decides what runs in the next step, and owns who holds which KV block. Pure: no device, no clock, no
// tokens' text.
//
// Each step: (1) waiting sequences are admitted in the order of their priority while there are seats, blocks
// and prefill for them; one that does not fit may preempt lower ones. (2) Sequences that decode go in; where
// one needs a block and none is available, the lowest in priority is preempted: its blocks are released and
// it waits to be recomputed. (3) Prefills get what the step's budget leaves, as chunks.
//
// Classes: while a prefill of a higher class runs, lower classes do not decode, so that it is as fast as on
// an idle host, and gets their part of the step; who was passed over for kPassedOverMax steps goes along in
// the next. Beside vip work lower
// classes decode only as far as the step's decodes stay under StepBudget's limit, those first who did so the
// longest ago; where not even one fits, one goes along that was passed over for so long. Batch work that has
// waited for kStarved steps counts as normal, but of all tokens not more than one in kStarvedPart gets in
// so; against vip traffic that takes all there is nothing is done: its share is dsd's to limit (DESIGN 7).
// Within a class a step's prefill goes to the shortest, but at least half of it to the first in priority: a
// long prompt neither holds up short ones nor is held up by them. One that waits for blocks may be passed by
// smaller ones for kPassedByMax steps. After kPatience steps, twice as many each time that it was preempted,
// it preempts second and further choices of other requests.
//
// Blocks: a sequence is admitted where its tokens fit, and room for it and all that run to grow. That room is
// a block each, doubles whenever blocks run out, up to all that they may generate, and shrinks as sequences
// end: where answers are short the pool is full, where they are long nobody is admitted only to be preempted.
// For one that preempts other choices it is a block each. A sequence whose request passed RequestLimits
// always fits when it is alone, so that the first in priority always makes progress.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runner/engine/block_pool.h"
#include "runner/engine/sequence.h"
#include "runner/engine/step_budget.h"

namespace deepserve::runner {

struct SchedulerLimits {
  uint32_t sequences_max = 1;    // seats
  uint32_t step_tokens_max = 1;  // at least sequences_max: what decodes always fits
  bool prefix_cache = false;
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
  uint64_t context_tokens = 0;  // of the decodes, together
  uint32_t prefill_tokens = 0;
  double prefill_pairs = 0;  // see PrefillPrice
  uint32_t drafts = 0;       // tokens that decodes run beside their own, see speculator.h

  void clear();
};

class Scheduler {
 public:
  static constexpr uint64_t kPassedOverMax = 8;
  static constexpr uint64_t kPassedByMax = 64;
  static constexpr uint64_t kPatience = 32;
  static constexpr uint64_t kStarved = 1024;
  static constexpr uint64_t kStarvedPart = 8;

  Scheduler(const SchedulerLimits& limits, uint32_t blocks, uint32_t block_tokens);

  // `sequence` is borrowed until it is removed.
  void add(Sequence& sequence);
  // It ends: its blocks are released.
  void remove(Sequence& sequence);
  // `sequence` is now the `rank`-th of its request's.
  void set_rank(Sequence& sequence, uint16_t rank);
  // Gives `sibling`, which waits, a seat and the leader's blocks, shared, for the tokens that the leader has
  // computed. False when there is no room for it.
  bool fork(const Sequence& leader, Sequence& sibling);
  // The first `sequence.computed` tokens of a running sequence are in the KV cache: others may find them.
  void remember(Sequence& sequence);
  // What a running sequence computed is not to be trusted: nobody finds its blocks any more. What others hold
  // too stays known, for what becomes of them says whether it is sound.
  void forget(Sequence& sequence);

  // Blocks for up to `tokens` after the next one of `sequence`, which decodes, as far as that leaves one
  // for each that runs. Returns how many of them have a place.
  uint32_t reserve(Sequence& sequence, uint32_t tokens);

  // Fills `plan` with at most step_tokens_max tokens, of which prefill takes what `budget` allows.
  void plan(const StepBudget& budget, StepPlan& plan);

  bool empty() const { return running_.empty() && waiting_.empty(); }
  uint32_t running() const { return static_cast<uint32_t>(running_.size()); }
  uint32_t waiting() const { return static_cast<uint32_t>(waiting_.size()); }
  uint64_t preemptions() const { return preemptions_; }
  uint64_t prefix_queries() const { return prefix_queries_; }  // tokens
  uint64_t prefix_hits() const { return prefix_hits_; }
  const BlockPool& pool() const { return pool_; }
  // CHECKs that every block's references are those of the running sequences and that used + cached + free =
  // total.
  void check_accounting() const;

 private:
  // A prefill in the making of a plan.
  struct Prefill {
    Sequence* sequence;
    uint32_t tokens;  // that it gets
  };
  // What is left of a step's prefill.
  struct Share {
    PrefillLimits left;
    uint32_t tokens;
  };

  void promote_starved();
  void admit(const PrefillLimits& limits);
  void seat(Sequence& candidate);
  bool make_room(const Sequence& candidate);
  uint32_t blocks_freed_by(std::span<Sequence* const> victims);
  bool fits(const Sequence& candidate, uint32_t in_use, uint32_t running, uint32_t available) const;
  uint32_t growth_of(const Sequence& sequence) const;
  bool waited_long(const Sequence& candidate) const;
  bool takes_turns(const Sequence& candidate) const;
  bool may_preempt(const Sequence& candidate, const Sequence& victim) const;
  PrefixParent parent_of(const Sequence& sequence, uint32_t block) const;
  std::span<const BlockId> find(const Sequence& candidate);
  bool extend(Sequence& sequence, StepPlan& plan);
  bool free_one_block(const Sequence& sequence);
  void preempt(Sequence& sequence);
  void release_blocks(Sequence& sequence);

  // step_plan.cpp
  PrefillLimits limits_of(const StepBudget& budget) const;
  bool gets_prefill(const Sequence& candidate, const PrefillLimits& limits) const;
  bool passed_over_for_long(const Sequence& sequence) const;
  void choose_decodes(const StepBudget& budget);
  void take_decodes(const StepBudget& budget, StepPlan& plan);
  void take_prefills(const PrefillLimits& limits, StepPlan& plan);
  static void give(Prefill& prefill, double cost_max, Share& share);

  SchedulerLimits limits_;
  BlockPool pool_;
  std::vector<Sequence*> running_;  // both by priority, the first first
  std::vector<Sequence*> waiting_;
  std::vector<Prefill> prefills_;  // of the plan in the making
  std::vector<Sequence*> lower_;   // the same: beside vip work, lower classes that may decode
  std::vector<BlockId> found_;
  mutable std::vector<uint32_t> counted_;  // check_accounting's
  uint64_t step_ = 0;
  uint64_t promotion_debt_ = 0;  // tokens to be planned before batch work is promoted again
  uint32_t growth_bits_ = 0;
  uint64_t ends_ = 0;
  std::vector<BlockId> held_blocks_;  // blocks_freed_by's
  uint64_t preemptions_ = 0;
  uint64_t prefix_queries_ = 0;
  uint64_t prefix_hits_ = 0;
};

}  // namespace deepserve::runner
