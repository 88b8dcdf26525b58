#include "runner/engine/speed_model.h"

#include <gtest/gtest.h>

#include <random>

namespace deepserve::runner {
namespace {

TEST(SpeedModel, FindsTheTermsThatMadeTheTimes) {
  SpeedModel model;
  std::mt19937 random(1);
  for (int step = 0; step < 2000; ++step) {
    const uint32_t decodes = 1 + random() % 32;
    const uint64_t context = decodes * (1 + random() % 2000);
    model.add(decodes, context, 0, 5e-3 + 2e-4 * decodes + 1e-6 * static_cast<double>(context));
  }
  EXPECT_NEAR(model.step_times().fixed_seconds, 5e-3, 2e-4);
  EXPECT_NEAR(model.step_times().per_sequence_seconds, 2e-4, 2e-5);
  EXPECT_NEAR(model.step_times().per_context_token_seconds, 1e-6, 1e-7);
}

TEST(SpeedModel, StepsThatAllLookTheSameStillGiveAFiniteModel) {
  SpeedModel model;
  for (int step = 0; step < 100; ++step) model.add(1, 100, 0, 0.01);
  const auto& times = model.step_times();
  EXPECT_NEAR(times.fixed_seconds + times.per_sequence_seconds + 100 * times.per_context_token_seconds, 0.01,
              1e-3);
}

TEST(SpeedModel, PrefillSpeedFollowsTheMeasuredOne) {
  SpeedModel model;
  EXPECT_EQ(model.prefill_tokens_per_second(), 0);
  model.add(0, 0, 100, 0.1);
  EXPECT_NEAR(model.prefill_tokens_per_second(), 1000, 1);
  for (int step = 0; step < 50; ++step) model.add(0, 0, 100, 0.05);
  EXPECT_NEAR(model.prefill_tokens_per_second(), 2000, 5);
}

}  // namespace
}  // namespace deepserve::runner
