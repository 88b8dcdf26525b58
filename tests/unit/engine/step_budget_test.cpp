#include "runner/engine/step_budget.h"

#include <gtest/gtest.h>

namespace deepserve::runner {
namespace {

uint32_t scored_rows(const StepBudget& budget) {
  return budget.prefill(0, 0, 1).scored_rows;
}

TEST(StepBudget, TheLogitsOfAStepsScoredPromptsFitIntoTheirMemory) {
  const StepBudget budget({.step_tokens_max = 512}, 151'936);
  EXPECT_EQ(scored_rows(budget), 110u);
  EXPECT_LE(uint64_t{scored_rows(budget)} * 151'936 * sizeof(float), StepBudget::kScoredBytesMax);
  EXPECT_EQ(scored_rows(StepBudget({.step_tokens_max = 512}, 1u << 30)), 1u);
}

TEST(StepBudget, ScoringTakesItsShareOfTheTimeOnceItIsMeasured) {
  StepBudget budget({.step_tokens_max = 512, .step_seconds_max = 0.25}, 50'000);
  EXPECT_EQ(scored_rows(budget), StepBudget::kScoredRowsFirst);
  budget.add_scoring(10, 0.050);
  EXPECT_EQ(scored_rows(budget), 25u);
  for (int step = 0; step < 100; ++step) budget.add_scoring(10, 10.0);
  EXPECT_EQ(scored_rows(budget), 1u);
  for (int step = 0; step < 100; ++step) budget.add_scoring(10, 1e-6);
  EXPECT_EQ(scored_rows(budget), 335u);  // memory's bound again
}

// Eight that decode take `decode_seconds`, a token of prefill 0.1 ms.
StepBudget measured(double decode_seconds) {
  StepBudget budget({.step_tokens_max = 512, .step_seconds_max = 0.1, .step_target_seconds = 0.025}, 1000);
  for (int step = 0; step < 100; ++step) budget.add_step({8, 800, 0, 0, decode_seconds});
  budget.add_step({0, 0, 100, 0, 0.01});
  return budget;
}

TEST(StepBudget, PrefillThatHasAStepForItselfMayTakeTheLongestOne) {
  EXPECT_DOUBLE_EQ(measured(0.01).prefill(0, 0, 1).cost, 0.1);
}

TEST(StepBudget, BesideDecodesPrefillTakesLessTimeThanThey) {
  const auto limits = measured(0.010).prefill(8, 800, 1);
  EXPECT_NEAR(limits.cost, 0.0091, 2e-4);  // 1 / (2.1 - 1) of it: not known to cost more than alone
  EXPECT_EQ(limits.tokens_min, 1u);
}

TEST(StepBudget, PrefillThatIsCheapBesideDecodesLeavesThemMoreOfTheTime) {
  auto budget = measured(0.010);
  for (int step = 0; step < 20; ++step) budget.add_step({8, 800, 18, 0, 0.0108});
  EXPECT_NEAR(budget.prefill(8, 800, 1).cost, StepBudget::kDecodeShareMin * 0.010, 2e-4);
}

TEST(StepBudget, PrefillThatIsDearBesideDecodesGetsMoreButNeverAsMuchAsThey) {
  auto budget = measured(0.010);
  for (int step = 0; step < 20; ++step) budget.add_step({8, 800, 18, 0, 0.0130});
  EXPECT_NEAR(budget.prefill(8, 800, 1).cost, StepBudget::kDecodeShareMax * 0.010, 2e-4);
  for (int step = 0; step < 20; ++step) budget.add_step({8, 800, 18, 0, 0.0200});
  EXPECT_NEAR(budget.prefill(8, 800, 1).cost, StepBudget::kDecodeShareMax * 0.010, 2e-4);
}

TEST(StepBudget, WhereTheHostMakesSomeStepsLongerAnywayPrefillGetsMore) {
  auto budget = measured(0.010);
  for (int step = 0; step < 160; ++step) budget.add_step({8, 800, 0, 0, step % 40 == 0 ? 0.014 : 0.010});
  for (int step = 0; step < 20; ++step) budget.add_step({8, 800, 18, 0, 0.0130});
  const double most = StepBudget::kDecodeShareMax * 0.010 + StepBudget::kJitterShare * 0.004;
  EXPECT_GT(budget.prefill(8, 800, 1).cost, StepBudget::kDecodeShareMax * 0.0105);
  EXPECT_LE(budget.prefill(8, 800, 1).cost, most + 2e-4);
}

TEST(StepBudget, AfterManyStepsWithPrefillOneWithoutIsToTellWhatDecodingTakes) {
  auto budget = measured(0.010);
  EXPECT_FALSE(budget.prefill(8, 800, 1).stale);
  for (int step = 0; step < 40; ++step) budget.add_step({8, 800, 10, 0, 0.015});
  EXPECT_TRUE(budget.prefill(8, 800, 1).stale);
  EXPECT_FALSE(budget.prefill(0, 0, 1).stale);
  budget.add_step({8, 800, 0, 0, 0.011});
  EXPECT_FALSE(budget.prefill(8, 800, 1).stale);
}

TEST(StepBudget, StepTargetLimitsWhatManyPrefillsTakeBesideFewDecodes) {
  EXPECT_NEAR(measured(0.010).prefill(8, 800, 16).cost, 0.0182, 4e-4);
  EXPECT_NEAR(measured(0.010).prefill(8, 800, 64).cost, 0.025, 1e-9);
}

TEST(StepBudget, WhereDecodingTakesLongerThanStepTargetPrefillStillGetsAhead) {
  EXPECT_NEAR(measured(0.060).prefill(8, 800, 1).cost, 0.889 * 0.060, 1e-3);
  EXPECT_NEAR(measured(0.0278).prefill(8, 800, 1).cost, 0.025, 2e-4);
}

TEST(StepBudget, BesideDecodesPrefillGrowsOnlySoFarAsItsPriceIsKnown) {
  auto budget = measured(0.010);
  EXPECT_EQ(budget.prefill(8, 800, 1).tokens_max, 18u);
  for (int step = 0; step < 5; ++step) budget.add_step({8, 800, 18, 0, 0.0101});
  EXPECT_LE(budget.prefill(8, 800, 1).tokens_max, 21u);
  EXPECT_EQ(budget.prefill(0, 0, 1).tokens_max, 512u);
}

TEST(StepBudget, PrefillHasTheTimeOfThoseWhoSitOutForItAsWell) {
  auto budget = measured(0.010);
  for (int step = 0; step < 64; ++step) budget.add_step({2, 200, 0, 0, 0.004});
  for (int step = 0; step < 64; ++step) budget.add_step({8, 800, 0, 0, 0.010});
  const double freed = budget.freed_seconds(8, 800, 2, 200);
  EXPECT_NEAR(freed, 0.006, 5e-4);
  EXPECT_EQ(budget.freed_seconds(2, 200, 2, 200), 0);
  EXPECT_LE(budget.freed_seconds(1000, 100'000, 2, 200), 0.1) << "a step has no time for more of them";
  const auto limits = budget.prefill(2, 200, 1, freed);
  EXPECT_NEAR(limits.cost, budget.prefill(2, 200, 1).cost + freed, 1e-9);
  EXPECT_GT(limits.tokens_max, 60u) << "more than was measured beside decodes";
}

TEST(StepBudget, WhatWasNeverMeasuredBesideDecodesCostsNoLessThanAlone) {
  auto budget = measured(0.010);
  for (int step = 0; step < 20; ++step) budget.add_step({8, 800, 200, 0, 0.0104});  // next to nothing
  EXPECT_NEAR(budget.prefill(8, 800, 1, 0.020).price.token, 0.1e-3, 1e-6);
  EXPECT_LT(budget.prefill(8, 800, 1, 1e-6).price.token, 0.08e-3) << "so little more is not worth it";
}

TEST(StepBudget, UntilDecodingIsMeasuredStepTargetIsTheLimit) {
  StepBudget budget({.step_tokens_max = 512, .step_seconds_max = 0.1, .step_target_seconds = 0.025}, 1000);
  EXPECT_EQ(budget.prefill(0, 0, 1).cost, 8.0);  // tokens: nothing is known of time
  budget.add_step({0, 0, 100, 0, 0.01});
  EXPECT_DOUBLE_EQ(budget.prefill(4, 100, 1).cost, 0.025);
}

}  // namespace
}  // namespace deepserve::runner
