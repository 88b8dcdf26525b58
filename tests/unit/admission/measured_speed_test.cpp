#include "daemon/admission/measured_speed.h"

#include <gtest/gtest.h>

#include <limits>

namespace deepserve::daemon {
namespace {

MeasuredSpeed speed(double prefill_per_second, uint64_t prompt_tokens, uint64_t cached_tokens = 0) {
  ipc::Gauges gauges;
  gauges.prefill_tokens_per_second = prefill_per_second;
  gauges.prompt_tokens_total = prompt_tokens;
  gauges.prefix_hits_total = cached_tokens;
  return measured_by(gauges);
}

TEST(MeasuredSpeed, AFewTokensSayLittleBesideWhatASiblingHasDone) {
  const auto quick = speed(50'000, 10);
  const auto sure = speed(1'000, 5'000);
  SpeedMean mean;
  mean.add(quick);
  mean.add(sure);
  const auto siblings = mean.mean({});
  EXPECT_NEAR(siblings.prefill_token_s, 1e-3, 1e-5);
  EXPECT_GT(shrunk(quick, siblings).prefill_token_s, 0.95e-3);
  EXPECT_NEAR(shrunk(sure, siblings).prefill_token_s, 1e-3, 1e-5);
}

TEST(MeasuredSpeed, ARunnerThatHasDoneEnoughIsTakenAsItIs) {
  SpeedMean mean;
  mean.add(speed(100, 100'000));
  mean.add(speed(1'000, 100'000));
  const auto siblings = mean.mean({});
  EXPECT_NEAR(shrunk(speed(100, 100'000), siblings).prefill_token_s, 10e-3, 0.05e-3);
  EXPECT_NEAR(shrunk(speed(1'000, 100'000), siblings).prefill_token_s, 1e-3, 0.05e-3);
}

TEST(MeasuredSpeed, WhatWasCachedIsNoEvidence) {
  EXPECT_EQ(speed(1'000, 5'000, 4'900).prefilled_tokens, 100);
  EXPECT_EQ(speed(1'000, 10, 20).prefilled_tokens, 0) << "counters that cannot be";
}

TEST(MeasuredSpeed, ALoneRunnerIsTakenAsItIsFromItsFirstFigureOn) {
  const auto alone = speed(700, 9);
  SpeedMean mean;
  mean.add(alone);
  EXPECT_DOUBLE_EQ(shrunk(alone, mean.mean({})).prefill_token_s, 1 / 700.0);
}

TEST(MeasuredSpeed, WhatOneHasNotMeasuredIsItsSiblings) {
  auto sibling = speed(1'000, 1'000);
  sibling.step_fixed_s = 0.01;
  sibling.decoded_tokens = 1'000;
  SpeedMean mean;
  mean.add(sibling);
  mean.add({});
  const auto shared = shrunk({}, mean.mean({}));
  EXPECT_EQ(shared.prefill_token_s, 1e-3);
  EXPECT_EQ(shared.step_fixed_s, 0.01);
  EXPECT_EQ(SpeedMean().mean(sibling).prefill_token_s, 1e-3) << "none is left: as it was";
}

TEST(MeasuredSpeed, FiguresThatCannotBeAreUnknown) {
  ipc::Gauges lies;
  lies.prefill_tokens_per_second = -1;
  lies.step_fixed_seconds = std::numeric_limits<double>::quiet_NaN();
  const auto none = measured_by(lies);
  EXPECT_FALSE(none.knows_prefill());
  EXPECT_FALSE(none.knows_decode());
}

}  // namespace
}  // namespace deepserve::daemon
