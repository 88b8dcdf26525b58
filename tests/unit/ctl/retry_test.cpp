#include "ctl/retry.h"

#include <gtest/gtest.h>

#include <vector>

namespace deepserve::ctl {
namespace {

Failure refused(std::optional<uint64_t> retry_after_ms = std::nullopt) {
  return {.error = {Code::kServerOverloaded, "full"}, .retry_after_ms = retry_after_ms};
}

// Runs an attempt that always fails with `failure` and returns the waits between its tries.
std::vector<double> waits_of(const RetryPolicy& policy, const Failure& failure, double unit_random) {
  RetrySchedule schedule(policy, [unit_random] { return unit_random; });
  std::vector<double> waits;
  const Wait wait = [&](double wait_s, const Failure&) {
    waits.push_back(wait_s);
    return true;
  };
  EXPECT_TRUE(run_with_retries(schedule, wait, [&] { return failure; }).has_value());
  return waits;
}

TEST(Retry, WaitsDoubleAndCarryJitterOverFiveTries) {
  EXPECT_EQ(waits_of({}, refused(), 0.25), (std::vector<double>{1.25, 2.25, 4.25, 8.25}));
}

TEST(Retry, BackOffIsCappedWithItsJitter) {
  EXPECT_DOUBLE_EQ(backoff_s(4, 0.5, {}), 16.5);
  EXPECT_DOUBLE_EQ(backoff_s(5, 0.5, {}), 30.0);
  EXPECT_DOUBLE_EQ(backoff_s(1000, 0.0, {}), 30.0);
}

TEST(Retry, WhatTheDaemonAskedForIsObeyedExactly) {
  EXPECT_EQ(waits_of({}, refused(1500), 0.9), (std::vector<double>{1.5, 1.5, 1.5, 1.5}));
}

TEST(Retry, ADaemonThatAsksForTooLongIsNotWaitedFor) {
  EXPECT_TRUE(waits_of({}, refused(301'000), 0.5).empty());
}

TEST(Retry, OneTryMeansNoRepetition) {
  EXPECT_TRUE(waits_of({.tries_max = 1}, refused(), 0.5).empty());
}

TEST(Retry, EveryCodeIsRetriedAsItsTableRowSaysButUnreachable) {
  for (size_t i = 0; i < static_cast<size_t>(Code::kCount); ++i) {
    const Code code = static_cast<Code>(i);
    RetrySchedule schedule({}, [] { return 0.0; });
    const bool retried = schedule.next_wait_s({Error{code, ""}, std::nullopt}).has_value();
    EXPECT_EQ(retried, error_row(code).retryable && code != Code::kUnreachable) << error_row(code).name;
  }
}

TEST(Retry, WhatTheDaemonCallsUselessIsNotRepeated) {
  Failure timeout{.error = {Code::kRequestTimeout, "too long"}, .retry_after_ms = {}};
  EXPECT_EQ(waits_of({}, timeout, 0).size(), 4u);
  timeout.retry_is_useless = true;
  EXPECT_TRUE(waits_of({}, timeout, 0).empty());
}

TEST(Retry, SuccessAfterARefusalEndsTheTries) {
  RetrySchedule schedule({}, [] { return 0.0; });
  int tries = 0;
  const auto attempt = [&]() -> std::optional<Failure> {
    if (++tries < 3) return refused();
    return std::nullopt;
  };
  EXPECT_FALSE(run_with_retries(
                   schedule, [](double, const Failure&) { return true; }, attempt)
                   .has_value());
  EXPECT_EQ(tries, 3);
}

TEST(Retry, AUserWhoGivesUpWhileWaitingEndsTheTries) {
  RetrySchedule schedule({}, [] { return 0.0; });
  const auto failure = run_with_retries(
      schedule, [](double, const Failure&) { return false; }, [] { return refused(); });
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->error.code, Code::kCancelled);
}

}  // namespace
}  // namespace deepserve::ctl
