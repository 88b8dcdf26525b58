#include "runner/engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <vector>

#include "tests/unit/engine/fakes.h"

namespace deepserve::runner {
namespace {

using ipc::Class;
using ::testing::ElementsAre;

constexpr uint32_t kNoLimit = 1'000'000;

// A scheduler, and sequences that "run" by having their chunks counted as computed.
struct Trial {
  explicit Trial(const SchedulerLimits& limits, uint32_t blocks = 100, uint32_t block_tokens = 4)
      : scheduler(limits, blocks, block_tokens) {}

  Sequence& add(uint32_t tokens, Class service_class = Class::kNormal, uint16_t rank = 0) {
    sequences.push_back(Sequence{.request = nullptr,
                                 .priority = {service_class, rank, arrivals++, rank},
                                 .tokens = std::vector<TokenId>(tokens, 5),
                                 .blocks = {},
                                 .salt = {},
                                 .counts = TokenCounts(generation, {}),
                                 .continuation = Continuation(tokenizer, generation, 1000, false)});
    scheduler.add(sequences.back());
    return sequences.back();
  }
  // One step; those that have come to the end of their tokens get one more.
  const StepPlan& step(uint32_t prefill_tokens_max = kNoLimit) {
    return step(StepBudget({.step_tokens_max = prefill_tokens_max}, 1));
  }
  // Steps of a device that decodes a sequence in `sequence_seconds` and where steps are to take 100 ms at
  // most.
  const StepPlan& timed_step(double sequence_seconds) {
    StepBudget budget({.step_tokens_max = 512, .step_seconds_max = 0.1, .step_target_seconds = 0.025}, 1);
    for (uint32_t step = 0; step < 64; ++step) {
      const uint32_t decodes = 1 + step % 16;
      budget.add_step({decodes, 10 * decodes, 0, 0, sequence_seconds * decodes});
      budget.add_step({0, 0, 100, 0, 0.001});
    }
    return step(budget);
  }
  const StepPlan& step(const StepBudget& budget) {
    scheduler.plan(budget, plan);
    scheduler.check_accounting();
    for (const auto& chunk : plan.chunks) {
      chunk.sequence->computed += chunk.tokens;
      if (chunk.sequence->pending() == 0) chunk.sequence->tokens.push_back(6);
    }
    return plan;
  }
  // Tokens that the last step gave to `sequence`.
  uint32_t given_to(const Sequence& sequence) const {
    for (const auto& chunk : plan.chunks) {
      if (chunk.sequence == &sequence) return chunk.tokens;
    }
    return 0;
  }

  testing::FakeTokenizer tokenizer;
  ipc::Generation generation;
  std::deque<Sequence> sequences;
  Scheduler scheduler;
  StepPlan plan;
  uint64_t arrivals = 0;
};

TEST(Scheduler, VipGoesBeforeNormalBeforeBatchAndFirstComeFirstServedWithin) {
  Trial trial({.sequences_max = 8, .step_tokens_max = 10});
  auto& batch = trial.add(10, Class::kBatch);
  auto& normal = trial.add(10, Class::kNormal);
  auto& later_normal = trial.add(10, Class::kNormal);
  auto& vip = trial.add(10, Class::kVip);
  trial.step();
  EXPECT_EQ(trial.given_to(vip), 10u);
  trial.step();  // vip decodes: 9 are left
  EXPECT_EQ(trial.given_to(normal), 9u);
  EXPECT_EQ(trial.given_to(later_normal), 0u);
  trial.step();
  EXPECT_EQ(trial.given_to(normal), 1u);
  EXPECT_EQ(trial.given_to(later_normal), 8u);
  EXPECT_EQ(batch.phase, SequencePhase::kWaiting);
}

TEST(Scheduler, PrefillIsCutIntoChunksOfWhatTheBudgetLeaves) {
  Trial trial({.sequences_max = 4, .step_tokens_max = 8});
  auto& sequence = trial.add(20);
  trial.step();
  EXPECT_EQ(trial.given_to(sequence), 8u);
  trial.step(3);
  EXPECT_EQ(trial.given_to(sequence), 3u);
  trial.step();
  EXPECT_EQ(trial.given_to(sequence), 8u);
  trial.step();
  EXPECT_EQ(trial.given_to(sequence), 1u);
  EXPECT_EQ(sequence.pending(), 1u);
}

TEST(Scheduler, WhatDecodesAlwaysGoesInAndPrefillsShareTheRest) {
  Trial trial({.sequences_max = 4, .step_tokens_max = 8});
  auto& first = trial.add(4);
  auto& second = trial.add(4);
  trial.step();
  auto& long_one = trial.add(30);
  trial.step();
  EXPECT_EQ(trial.given_to(first), 1u);
  EXPECT_EQ(trial.given_to(second), 1u);
  EXPECT_EQ(trial.given_to(long_one), 6u);
}

TEST(Scheduler, ASequenceThatDoesNotFitIsPassedBySmallerOnesForAWhileOnly) {
  Trial trial({.sequences_max = 8, .step_tokens_max = 100}, 10);
  auto& first = trial.add(17);  // 5 blocks, and more before long
  auto& large = trial.add(32);  // 8 blocks
  auto& small = trial.add(4);
  auto& batch = trial.add(4, Class::kBatch);
  trial.step();
  EXPECT_EQ(large.phase, SequencePhase::kWaiting);
  EXPECT_EQ(small.phase, SequencePhase::kRunning);
  EXPECT_EQ(batch.phase, SequencePhase::kWaiting);
  trial.scheduler.remove(small);
  for (uint64_t step = 0; step < Scheduler::kPassedByMax; ++step) {
    first.tokens.resize(18);
    first.computed = 17;
    trial.step();
  }
  auto& late = trial.add(4);
  trial.step();
  EXPECT_EQ(late.phase, SequencePhase::kWaiting);
  trial.scheduler.remove(first);
  trial.step();
  EXPECT_EQ(large.phase, SequencePhase::kRunning);
}

TEST(Scheduler, NoMoreSequencesRunThanThereAreSeats) {
  Trial trial({.sequences_max = 2, .step_tokens_max = 100});
  for (int i = 0; i < 5; ++i) trial.add(4);
  trial.step();
  EXPECT_EQ(trial.scheduler.running(), 2u);
  EXPECT_EQ(trial.scheduler.waiting(), 3u);
}

TEST(Scheduler, WhenBlocksRunOutTheYoungestOfTheLowestClassIsPreempted) {
  Trial trial({.sequences_max = 4, .step_tokens_max = 100}, 10);
  auto& vip = trial.add(11, Class::kVip);  // 3 blocks, the third full after one token
  auto& old_batch = trial.add(8, Class::kBatch);
  auto& young_batch = trial.add(8, Class::kBatch);
  trial.step();
  ASSERT_EQ(trial.scheduler.running(), 3u);
  while (trial.scheduler.preemptions() == 0) trial.step();
  EXPECT_EQ(young_batch.phase, SequencePhase::kWaiting);
  EXPECT_EQ(young_batch.computed, 0u);
  EXPECT_EQ(old_batch.phase, SequencePhase::kRunning);
  EXPECT_EQ(vip.phase, SequencePhase::kRunning);
}

TEST(Scheduler, AWaitingVipTakesTheSeatAndTheBlocksOfLowerClassesOnly) {
  Trial trial({.sequences_max = 2, .step_tokens_max = 100});
  auto& batch = trial.add(8, Class::kBatch);
  auto& normal = trial.add(8, Class::kNormal);
  trial.step();
  auto& vip = trial.add(8, Class::kVip);
  trial.step();
  EXPECT_EQ(trial.given_to(vip), 8u);
  EXPECT_EQ(batch.phase, SequencePhase::kWaiting);
  EXPECT_EQ(normal.phase, SequencePhase::kRunning);
  auto& second_normal = trial.add(8, Class::kNormal);
  trial.step();
  EXPECT_EQ(second_normal.phase, SequencePhase::kWaiting);
  EXPECT_EQ(normal.phase, SequencePhase::kRunning);
}

TEST(Scheduler, NobodyIsPreemptedForAVipThatWouldNotFitAnyway) {
  Trial trial({.sequences_max = 4, .step_tokens_max = 100}, 10);
  trial.add(16, Class::kVip);
  auto& batch = trial.add(4, Class::kBatch);
  trial.step();
  trial.add(36, Class::kVip);
  trial.step();
  EXPECT_EQ(batch.phase, SequencePhase::kRunning);
  EXPECT_EQ(trial.scheduler.preemptions(), 0u);
}

TEST(Scheduler, BesideAVipTheOthersDecodeInTurnSoThatNoStepTakesTooLong) {
  Trial trial({.sequences_max = 16, .step_tokens_max = 512}, 1000);
  std::vector<Sequence*> lower;
  for (int i = 0; i < 12; ++i) lower.push_back(&trial.add(8, i < 8 ? Class::kNormal : Class::kBatch));
  trial.step();
  auto& vip = trial.add(8, Class::kVip);
  trial.timed_step(0.02);
  EXPECT_EQ(trial.given_to(vip), 8u);
  std::map<const Sequence*, int> turns;
  for (int step = 0; step < 30; ++step) {
    const auto& plan = trial.timed_step(0.02);
    EXPECT_EQ(trial.given_to(vip), 1u);
    EXPECT_GE(plan.decodes, 4u);
    EXPECT_LE(plan.decodes, 5u);
    for (const Sequence* sequence : lower) turns[sequence] += static_cast<int>(trial.given_to(*sequence));
  }
  for (const Sequence* sequence : lower) EXPECT_GE(turns[sequence], 7);
  trial.scheduler.remove(vip);
  EXPECT_EQ(trial.timed_step(0.02).decodes, 12u);
}

TEST(Scheduler, AVipsPrefillBesideAnotherVipHasTheTimeOfThoseWhoSitOutForIt) {
  StepBudget budget({.step_tokens_max = 512, .step_seconds_max = 0.1, .step_target_seconds = 0.025}, 1);
  for (uint32_t step = 0; step < 128; ++step) {
    const uint32_t decodes = step % 2 == 0 ? 1 : 9;
    budget.add_step({decodes, 10 * decodes, 0, 0, 0.002 + 0.002 * decodes});
  }
  budget.add_step({0, 0, 100, 0, 0.1});
  const auto chunk_beside = [&](int lower) {
    Trial trial({.sequences_max = 16, .step_tokens_max = 512}, 1000);
    for (int i = 0; i < lower; ++i) trial.add(8);
    trial.add(8, Class::kVip);
    trial.step();
    auto& vip = trial.add(200, Class::kVip);
    trial.step(budget);
    return trial.given_to(vip);
  };
  EXPECT_NEAR(chunk_beside(0), 4, 1);
  EXPECT_NEAR(chunk_beside(8), 20, 2) << "the 16 ms of the eight, at 1 ms a token";
}

TEST(Scheduler, WhereAVipAloneTakesAllTheTimeOneOfTheOthersGoesAlongNowAndThen) {
  Trial trial({.sequences_max = 16, .step_tokens_max = 512}, 1000);
  std::vector<Sequence*> lower;
  for (int i = 0; i < 4; ++i) lower.push_back(&trial.add(8, Class::kBatch));
  trial.step();
  trial.add(8, Class::kVip);
  std::map<const Sequence*, int> turns;
  for (int step = 0; step < 60; ++step) {
    EXPECT_LE(trial.timed_step(0.2).decodes, 2u);
    for (const Sequence* sequence : lower) turns[sequence] += static_cast<int>(trial.given_to(*sequence));
  }
  for (const Sequence* sequence : lower) EXPECT_GE(turns[sequence], 4);
}

TEST(Scheduler, WhatDecodingTakesIsMeasuredNowAndThenButNotWhileAVipWaits) {
  StepBudget budget({.step_tokens_max = 512, .step_seconds_max = 0.1, .step_target_seconds = 0.025}, 1);
  for (int step = 0; step < 64; ++step) budget.add_step({1, 10, 0, 0, 0.01});
  for (int step = 0; step < 64; ++step) budget.add_step({1, 10, 10, 0, 0.015});
  ASSERT_TRUE(budget.prefill(1, 10, 1).stale);
  Trial trial({.sequences_max = 4, .step_tokens_max = 512}, 1000);
  auto& vip = trial.add(4, Class::kVip);
  trial.step();
  auto& long_one = trial.add(400);
  trial.step(budget);
  EXPECT_EQ(trial.given_to(vip), 1u);
  EXPECT_EQ(trial.given_to(long_one), 0u);
  auto& waiting = trial.add(100, Class::kVip);
  trial.step(budget);
  EXPECT_GT(trial.given_to(waiting), 0u);
}

TEST(Scheduler, StarvedBatchWorkGetsInButNotAllAtOnce) {
  Trial trial({.sequences_max = 1, .step_tokens_max = 512}, 1000);
  Sequence* running = &trial.add(8);
  std::vector<Sequence*> starved;
  for (int i = 0; i < 3; ++i) starved.push_back(&trial.add(100, Class::kBatch));
  const auto promoted = [&] {
    return std::ranges::count(starved, Class::kNormal,
                              [](const Sequence* s) { return s->priority.service_class; });
  };
  for (uint64_t step = 0; step <= Scheduler::kStarved; ++step) {
    running->tokens.resize(9);
    running->computed = running->computed == 0 ? 0 : 8;
    trial.step();
  }
  EXPECT_EQ(promoted(), 1);
  for (uint64_t step = 0; step < Scheduler::kStarvedPart * 100 - 10; ++step) {
    running->tokens.resize(9);
    running->computed = 8;
    trial.step();
  }
  EXPECT_EQ(promoted(), 1);
  for (uint64_t step = 0; step < 20; ++step) {
    running->tokens.resize(9);
    running->computed = 8;
    trial.step();
  }
  EXPECT_EQ(promoted(), 2);
}

TEST(Scheduler, AForkSharesBlocksAndTheFirstToWriteCopiesTheLastOne) {
  Trial trial({.sequences_max = 4, .step_tokens_max = 100});
  auto& leader = trial.add(6);  // a full block and half of one
  auto& sibling = trial.add(6);
  sibling.awaits_leader = true;
  trial.scheduler.plan(StepBudget({}, 1), trial.plan);
  ASSERT_EQ(trial.plan.chunks.size(), 1u);
  leader.computed = 6;
  ASSERT_TRUE(trial.scheduler.fork(leader, sibling));
  leader.tokens.push_back(7);
  sibling.tokens.push_back(8);
  EXPECT_EQ(trial.scheduler.pool().free(), 98u);
  trial.step();
  EXPECT_EQ(trial.plan.copies.size(), 1u);
  EXPECT_EQ(leader.blocks[0], sibling.blocks[0]);
  EXPECT_NE(leader.blocks[1], sibling.blocks[1]);
  EXPECT_EQ(trial.scheduler.pool().free(), 97u);
  trial.scheduler.remove(leader);
  trial.scheduler.check_accounting();
  trial.scheduler.remove(sibling);
  EXPECT_EQ(trial.scheduler.pool().free(), 100u);
  EXPECT_TRUE(trial.scheduler.empty());
}

}  // namespace
}  // namespace deepserve::runner
