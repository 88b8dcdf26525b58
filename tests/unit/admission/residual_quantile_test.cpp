#include "daemon/admission/residual_quantile.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

namespace deepserve::daemon {
namespace {

// The part of `count` outcomes that was within, after some to learn from.
double coverage(int count, const std::function<double(double predicted_s, int i)>& actual_s) {
  ResidualQuantile quantile;
  std::mt19937 random(11);
  int covered = 0;
  for (int i = -300; i < count; ++i) {
    const double predicted_s = 0.01 * static_cast<double>(1 + random() % 500);
    const double stretched_s = quantile.stretched(predicted_s);
    const double is_s = actual_s(predicted_s, i);
    if (i >= 0 && is_s <= stretched_s) ++covered;
    quantile.add(predicted_s, stretched_s, is_s);
  }
  return covered / static_cast<double>(count);
}

TEST(ResidualQuantile, NineOfTenAreWithinWhateverTheErrorIs) {
  std::mt19937 random(5);
  std::lognormal_distribution<double> wide(0.0, 1.0);
  EXPECT_NEAR(coverage(20'000, [&](double s, int) { return s * wide(random); }), 0.90, 0.015);
  std::normal_distribution<double> narrow(0.5, 0.02);
  EXPECT_NEAR(coverage(20'000, [&](double s, int) { return s * narrow(random); }), 0.90, 0.015);
}

TEST(ResidualQuantile, FollowsWhatDrifts) {
  std::mt19937 random(6);
  std::lognormal_distribution<double> error(0.0, 0.3);
  const auto drifting = [&](double s, int i) { return s * error(random) * (1.0 + 0.5 * (i / 1000 % 4)); };
  EXPECT_NEAR(coverage(20'000, drifting), 0.90, 0.02);
}

TEST(ResidualQuantile, SaysALittleMoreThanWasPredictedUntilItKnows) {
  const ResidualQuantile quantile;
  EXPECT_GT(quantile.stretched(1.0), 1.2);
  EXPECT_LT(quantile.stretched(1.0), 2.0);
  EXPECT_NEAR(quantile.median(1.0), 1.0, 1e-9);
}

TEST(ResidualQuantile, NineOfTenTakeLongerThanTheLeast) {
  std::mt19937 random(7);
  std::lognormal_distribution<double> error(0.0, 0.3);
  ResidualQuantile quantile;
  int longer = 0;
  for (int i = -200; i < 5'000; ++i) {
    const double is_s = error(random);
    if (i >= 0 && is_s > quantile.least(1.0)) ++longer;
    quantile.add(1.0, quantile.stretched(1.0), is_s);
  }
  EXPECT_NEAR(longer / 5'000.0, 0.90, 0.02);
}

}  // namespace
}  // namespace deepserve::daemon
