#include "runner/engine/step_budget.h"

#include <gtest/gtest.h>

namespace deepserve::runner {
namespace {

TEST(StepBudget, TheLogitsOfAStepsScoredPromptsFitIntoTheirMemory) {
  const StepBudget budget({.step_tokens_max = 512}, 151'936);
  EXPECT_EQ(budget.scored_rows(), 110u);
  EXPECT_LE(uint64_t{budget.scored_rows()} * 151'936 * sizeof(float), StepBudget::kScoredBytesMax);
  EXPECT_EQ(StepBudget({.step_tokens_max = 512}, 1u << 30).scored_rows(), 1u);
}

TEST(StepBudget, ScoringTakesItsShareOfTheTimeOnceItIsMeasured) {
  StepBudget budget({.step_tokens_max = 512, .prefill_seconds_max = 0.25}, 50'000);
  EXPECT_EQ(budget.scored_rows(), StepBudget::kScoredRowsFirst);
  budget.add_scoring(10, 0.050);
  EXPECT_EQ(budget.scored_rows(), 25u);
  for (int step = 0; step < 100; ++step) budget.add_scoring(10, 10.0);
  EXPECT_EQ(budget.scored_rows(), 1u);
  for (int step = 0; step < 100; ++step) budget.add_scoring(10, 1e-6);
  EXPECT_EQ(budget.scored_rows(), 335u);  // memory's bound again
}

}  // namespace
}  // namespace deepserve::runner
