// Frequencies as transformers 5.23 computes them (ROPE_INIT_FUNCTIONS), printed to seven digits.
#include "runner/backend/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace deepserve::runner {
namespace {

ModelConfig config_of(const RopeScaling& scaling, double base = 10'000) {
  ModelConfig config;
  config.head_dim = config.rotated_dims = 16;
  config.rope_base = base;
  config.rope_scaling = scaling;
  return config;
}

// Of position 1 all angles are below a half turn, and so the frequencies themselves.
void expect_frequencies(const ModelConfig& config, const std::vector<double>& expected,
                        double attention_factor = 1) {
  const RopeTable table(config, {});
  ASSERT_EQ(table.pairs(), expected.size());
  std::vector<float> cosines(expected.size()), sines(expected.size());
  table.angles(1, cosines.data(), sines.data());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(std::atan2(sines[i], cosines[i]) / expected[i], 1, 2e-6) << i;
    EXPECT_NEAR(std::hypot(sines[i], cosines[i]), attention_factor, 1e-6) << i;
  }
}

TEST(RopeTable, LinearStretchesEveryPair) {
  expect_frequencies(config_of({.kind = RopeScalingKind::kLinear, .factor = 4}),
                     {0.25, 0.07905694, 0.025, 0.007905695, 0.0025, 0.0007905695, 0.00025, 7.905695e-05});
}

TEST(RopeTable, Llama3StretchesLongWavesOnly) {
  expect_frequencies(
      config_of({.kind = RopeScalingKind::kLlama3,
                 .factor = 8,
                 .original_context_tokens = 8'192,
                 .low_frequency_factor = 1,
                 .high_frequency_factor = 4},
                500'000),
      {1.0, 0.1939228, 0.03760603, 0.007292665, 0.000524846, 3.428102e-05, 6.64787e-06, 1.289173e-06});
}

TEST(RopeTable, YarnStretchesByHowOftenAPairTurns) {
  const double attention_factor = yarn_attention_factor(4);
  EXPECT_NEAR(attention_factor, 1.138629436111989, 1e-12);
  expect_frequencies(config_of({.kind = RopeScalingKind::kYarn,
                                .factor = 4,
                                .original_context_tokens = 64,
                                .attention_factor = attention_factor}),
                     {1.0, 0.2371708, 0.05, 0.007905695, 0.0025, 0.0007905695, 0.00025, 7.905695e-05},
                     attention_factor);
  expect_frequencies(
      config_of({.kind = RopeScalingKind::kYarn, .factor = 40, .original_context_tokens = 4'096}),
      {1.0, 0.3162278, 0.1, 0.02391472, 0.005125, 0.0008498622, 2.5e-05, 7.905694e-06});
}

TEST(RopeTable, YarnWithoutWholePairsHasItsBordersInBetween) {
  expect_frequencies(config_of({.kind = RopeScalingKind::kYarn,
                                .factor = 8,
                                .original_context_tokens = 512,
                                .beta_fast = 8,
                                .beta_slow = 2,
                                .whole_pairs = false}),
                     {1.0, 0.3162278, 0.1, 0.009011076, 0.00125, 0.0003952847, 0.000125, 3.952847e-05});
}

TEST(RopeTable, FactorsDivide) {
  const std::vector<float> factors = {1, 2, 4, 8, 1, 1, 1, 1};
  const RopeTable table(config_of({}), factors);
  std::vector<float> cosines(8), sines(8);
  table.angles(1, cosines.data(), sines.data());
  EXPECT_NEAR(std::asin(sines[1]), 0.3162278 / 2, 1e-6);
  EXPECT_NEAR(std::asin(sines[2]), 0.1 / 4, 1e-7);
}

}  // namespace
}  // namespace deepserve::runner
