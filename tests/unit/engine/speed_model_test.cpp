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
    model.add({decodes, context, 0, 0, 5e-3 + 2e-4 * decodes + 1e-6 * static_cast<double>(context)});
  }
  EXPECT_NEAR(model.step_times().fixed_seconds, 5e-3, 2e-4);
  EXPECT_NEAR(model.step_times().per_sequence_seconds, 2e-4, 2e-5);
  EXPECT_NEAR(model.step_times().per_context_token_seconds, 1e-6, 1e-7);
}

TEST(SpeedModel, StepsThatAllLookTheSameStillGiveAFiniteModel) {
  SpeedModel model;
  for (int step = 0; step < 100; ++step) model.add({1, 100, 0, 0, 0.01});
  const auto& times = model.step_times();
  EXPECT_NEAR(times.fixed_seconds + times.per_sequence_seconds + 100 * times.per_context_token_seconds, 0.01,
              1e-3);
}

TEST(SpeedModel, PrefillSpeedFollowsTheMeasuredOne) {
  SpeedModel model;
  EXPECT_EQ(model.prefill_tokens_per_second(), 0);
  model.add({0, 0, 100, 0, 0.1});
  EXPECT_NEAR(model.prefill_tokens_per_second(), 1000, 1);
  for (int step = 0; step < 50; ++step) model.add({0, 0, 100, 0, 0.05});
  EXPECT_NEAR(model.prefill_tokens_per_second(), 2000, 5);
}

TEST(SpeedModel, PrefillGetsDearerWithItsPositionAsFastAsMeasured) {
  SpeedModel model;
  const double token_seconds = 1e-3, pair_seconds = 5e-7;
  for (uint32_t position = 0; position < 4096; position += 64) {
    const double pairs = PrefillPrice::pairs(position, 64);
    model.add({0, 0, 64, pairs, 64 * token_seconds + pairs * pair_seconds});
  }
  const auto price = model.prefill_price(false);
  EXPECT_NEAR(price.token, token_seconds, 2e-5);
  EXPECT_NEAR(price.pair, pair_seconds, 2e-8);
  const uint32_t tokens = price.affordable(0.05, 4096, 512);
  EXPECT_NEAR(price.of(4096, tokens), 0.05, 0.5 * price.of(4096, 1));
  EXPECT_EQ(price.affordable(100, 0, 512), 512u);
  EXPECT_EQ(price.affordable(0, 0, 512), 0u);
}

TEST(SpeedModel, PrefillBesideDecodesHasAPriceOfItsOwn) {
  SpeedModel model;
  for (int step = 0; step < 50; ++step) model.add({8, 800, 0, 0, 0.010});
  for (int step = 0; step < 20; ++step) model.add({0, 0, 100, 0, 0.1});
  EXPECT_NEAR(model.prefill_price(true).token, 1e-3, 1e-5);  // nothing else is known yet
  for (int step = 0; step < 20; ++step) model.add({8, 800, 20, 0, 0.014});
  EXPECT_NEAR(model.prefill_price(true).token, 2e-4, 2e-5);  // the weights were read anyway
  EXPECT_NEAR(model.prefill_price(false).token, 1e-3, 1e-5);
}

TEST(SpeedModel, DecodingIsLearntThroughWhatNeverStops) {
  SpeedModel model;
  for (int step = 0; step < 20; ++step) model.add({1, 100, 0, 0, 0.008});
  // Never again a step without prefill: sixteen take 15 ms, not the 8 of one.
  for (int step = 0; step < 200; ++step) model.add({16, 1600, 2, 0, 0.0155});
  EXPECT_NEAR(model.decode_seconds(16, 1600), 0.0155, 0.001);
}

TEST(SpeedModel, AStepThatTookLongerForOnceIsNoNews) {
  SpeedModel model;
  for (int step = 0; step < 50; ++step) model.add({8, 800, 0, 0, 0.010});
  for (int step = 0; step < 20; ++step) model.add({8, 800, 10, 0, 0.012});
  model.add({8, 800, 0, 0, 0.050});
  EXPECT_NEAR(model.decode_seconds(8, 800), 0.010, 0.001);
  model.add({8, 800, 10, 0, 0.052});
  EXPECT_NEAR(model.prefill_price(true).token, 2e-4, 4e-5);
  for (int step = 0; step < 8; ++step) model.add({8, 800, 10, 0, 0.014});
  EXPECT_NEAR(model.prefill_price(true).token, 4e-4, 8e-5);  // a change is
}

TEST(SpeedModel, BesideDecodesPrefillGetsDearerWithItsPositionAsItDoesAlone) {
  SpeedModel model;
  const double token_seconds = 1e-3, pair_seconds = 5e-7;
  for (uint32_t position = 0; position < 4096; position += 64) {
    const double pairs = PrefillPrice::pairs(position, 64);
    model.add({0, 0, 64, pairs, 64 * token_seconds + pairs * pair_seconds});
  }
  for (int step = 0; step < 50; ++step) model.add({8, 800, 0, 0, 0.010});
  for (int step = 0; step < 20; ++step) model.add({8, 800, 10, 0, 0.015});  // half as dear
  EXPECT_NEAR(model.prefill_price(true).token, token_seconds / 2, 2e-5);
  EXPECT_NEAR(model.prefill_price(true).pair, pair_seconds / 2, 1e-8);
}

TEST(SpeedModel, TellsHowMuchLongerTheHostMakesAFewSteps) {
  SpeedModel model;
  for (int step = 0; step < 200; ++step) model.add({8, 800, 0, 0, 0.010});
  EXPECT_NEAR(model.decode_jitter_seconds(), 0, 1e-4);
  for (int step = 0; step < 160; ++step) model.add({8, 800, 0, 0, step % 40 == 0 ? 0.017 : 0.010});
  EXPECT_NEAR(model.decode_jitter_seconds(), 0.007, 5e-4);
}

}  // namespace
}  // namespace deepserve::runner
