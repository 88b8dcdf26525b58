#include "daemon/admission/completion_rate.h"

#include <gtest/gtest.h>

#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

TEST(CompletionRate, SaysTheMinimumWhileNothingIsKnown) {
  const CompletionRate rate;
  EXPECT_EQ(rate.per_second(5 * kSecond_ns), 0);
  EXPECT_EQ(rate.retry_after_ms(1000, 5 * kSecond_ns), CompletionRate::kRetryAfterMin_ms);
}

TEST(CompletionRate, FollowsASteadyRate) {
  CompletionRate rate;
  uint64_t now_ns = kSecond_ns;
  for (int i = 0; i < 600; ++i) rate.count(now_ns += kSecond_ns / 20);
  EXPECT_NEAR(rate.per_second(now_ns), 20.0, 2.0);
  EXPECT_NEAR(static_cast<double>(rate.retry_after_ms(100, now_ns)), 5000.0, 600.0);
}

TEST(CompletionRate, FadesWhenNothingEndsAndNeverPromisesMoreThanAMinute) {
  CompletionRate rate;
  for (int i = 1; i <= 10; ++i) rate.count(i * kSecond_ns);
  EXPECT_LT(rate.per_second(60 * kSecond_ns), 0.1);
  EXPECT_EQ(rate.retry_after_ms(1000, 60 * kSecond_ns), CompletionRate::kRetryAfterMax_ms);
}

}  // namespace
}  // namespace deepserve::daemon
