#include "daemon/admission/client_limits.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

constexpr uint64_t kStart_ns = 1000 * kSecond_ns;
constexpr ClientRules kFree{};
constexpr ClientRules kTwoAtOnce{.concurrent_max = 2};
constexpr ClientRules kSixThousand{.tokens_per_minute = 6'000};  // 100 a second

uint64_t at(double seconds) {
  return kStart_ns + static_cast<uint64_t>(seconds * 1e9);
}

TEST(ClientLimits, WhoHasNoLimitsIsNeverDenied) {
  ClientLimits limits;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_FALSE(limits.ask("a", kFree, {.tokens = 1'000'000}, kStart_ns));
    limits.begin("a", kFree, 1'000'000, kStart_ns);
  }
  EXPECT_EQ(limits.find("a")->running, 1000u);
}

TEST(ClientLimits, AsManyRunAtOnceAsMayAndOneEndMakesRoomForOne) {
  ClientLimits limits;
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(limits.ask("a", kTwoAtOnce, {}, kStart_ns));
    limits.begin("a", kTwoAtOnce, 0, kStart_ns);
  }
  const auto denial = limits.ask("a", kTwoAtOnce, {}, kStart_ns);
  ASSERT_TRUE(denial);
  EXPECT_EQ(denial->limit, ClientLimit::kConcurrent);
  EXPECT_FALSE(limits.ask("b", kTwoAtOnce, {}, kStart_ns));
  limits.end("a", kTwoAtOnce, 0, 0, 4 * kSecond_ns, at(4));
  EXPECT_FALSE(limits.ask("a", kTwoAtOnce, {}, at(4)));
}

TEST(ClientLimits, WhoHasTooManyAtOnceHearsWhenOneOfThemWillProbablyEnd) {
  ClientLimits limits;
  for (int i = 0; i < 3; ++i) limits.begin("a", kTwoAtOnce, 0, kStart_ns);
  limits.end("a", kTwoAtOnce, 0, 0, 8 * kSecond_ns, at(8));
  EXPECT_EQ(limits.ask("a", kTwoAtOnce, {}, at(8))->retry_after_ms, 4'000u);
}

TEST(ClientLimits, AMinutesTokensMayGoAtOnceAndThenTheyComeBackOneByOne) {
  ClientLimits limits;
  EXPECT_FALSE(limits.ask("a", kSixThousand, {.tokens = 6'000}, kStart_ns));
  limits.begin("a", kSixThousand, 6'000, kStart_ns);
  const auto denial = limits.ask("a", kSixThousand, {.tokens = 500}, kStart_ns);
  ASSERT_TRUE(denial);
  EXPECT_EQ(denial->limit, ClientLimit::kTokens);
  EXPECT_EQ(denial->retry_after_ms, 5'000u);
  EXPECT_TRUE(limits.ask("a", kSixThousand, {.tokens = 500}, at(4.9)));
  EXPECT_FALSE(limits.ask("a", kSixThousand, {.tokens = 500}, at(5)));
}

TEST(ClientLimits, WhatWasChargedTooMuchIsGivenBackAndWhatWasTooLittleIsOwed) {
  ClientLimits limits;
  limits.begin("a", kSixThousand, 5'000, kStart_ns);
  limits.end("a", kSixThousand, 5'000, 1'000, kSecond_ns, kStart_ns);
  EXPECT_NEAR(limits.find("a")->tokens_left, 5'000, 1e-6);
  limits.begin("a", kSixThousand, 0, kStart_ns);
  limits.end("a", kSixThousand, 0, 8'000, kSecond_ns, kStart_ns);
  EXPECT_NEAR(limits.find("a")->tokens_left, -3'000, 1e-6);
}

TEST(ClientLimits, WhatNoBucketHoldsPassesOnceItIsFullAndIsPaidOff) {
  ClientLimits limits;
  EXPECT_FALSE(limits.ask("a", kSixThousand, {.tokens = 60'000}, kStart_ns));
  limits.begin("a", kSixThousand, 60'000, kStart_ns);
  EXPECT_EQ(limits.ask("a", kSixThousand, {.tokens = 1}, kStart_ns)->retry_after_ms, 60'000u);
  EXPECT_TRUE(limits.ask("a", kSixThousand, {.tokens = 1}, at(530)));
  EXPECT_FALSE(limits.ask("a", kSixThousand, {.tokens = 1}, at(541)));
}

TEST(ClientLimits, TheLimitThatTakesLongestIsTold) {
  ClientLimits limits;
  const ClientRules both{.concurrent_max = 1, .tokens_per_minute = 6'000};
  limits.begin("a", both, 6'000, kStart_ns);
  EXPECT_EQ(limits.ask("a", both, {.tokens = 6'000}, kStart_ns)->limit, ClientLimit::kTokens);
  EXPECT_EQ(limits.ask("a", both, {.tokens = 10}, kStart_ns)->limit, ClientLimit::kConcurrent);
}

TEST(ClientLimits, MoreThanATenthOfRetriesIsRefusedEarlyWhileThereIsOverload) {
  ClientLimits limits;
  const ClientLimits::Ask retry{.is_retry = true, .is_shedding = true};
  int passed = 0;
  while (!limits.ask("a", kFree, retry, kStart_ns)) ++passed;
  EXPECT_EQ(passed, 3);
  const auto denial = limits.ask("a", kFree, retry, kStart_ns);
  ASSERT_TRUE(denial);
  EXPECT_EQ(denial->limit, ClientLimit::kRetries);
  EXPECT_GT(denial->retry_after_ms, 0u);
  EXPECT_FALSE(limits.ask("a", kFree, {.is_retry = true, .is_shedding = false}, kStart_ns));
  EXPECT_FALSE(limits.ask("a", kFree, {.is_retry = false, .is_shedding = true}, kStart_ns));
}

TEST(ClientLimits, AFewRetriesAmongManyRequestsAreWithinTheBudget) {
  ClientLimits limits;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_FALSE(limits.ask("a", kFree, {.is_retry = i % 11 == 0, .is_shedding = true}, at(i * 0.01)));
  }
}

TEST(ClientLimits, WhoStopsRetryingIsForgivenWhenItWasTold) {
  ClientLimits limits;
  const ClientLimits::Ask retry{.is_retry = true, .is_shedding = true};
  uint64_t wait_ms = 0;
  for (int i = 0; i < 100; ++i) {
    if (const auto denial = limits.ask("a", kFree, retry, kStart_ns)) wait_ms = denial->retry_after_ms;
  }
  EXPECT_TRUE(limits.ask("a", kFree, retry, kStart_ns + wait_ms / 2 * kMillisecond_ns));
  EXPECT_FALSE(limits.ask("a", kFree, retry, kStart_ns + 2 * wait_ms * kMillisecond_ns));
}

TEST(ClientLimits, MillionsOfClientsAreForgottenButNotThoseThatRun) {
  ClientLimits limits;
  limits.begin("runs", kTwoAtOnce, 0, kStart_ns);
  limits.begin("runs", kTwoAtOnce, 0, kStart_ns);
  for (int i = 0; i < 1'000'000; ++i)
    limits.ask("client " + std::to_string(i), kFree, {}, kStart_ns + static_cast<uint64_t>(i));
  EXPECT_EQ(limits.size(), ClientLimits::kClientsMax);
  EXPECT_TRUE(limits.ask("runs", kTwoAtOnce, {}, kStart_ns));
  EXPECT_EQ(limits.recent(3)[1].client, "client 999999");
}

TEST(ClientLimits, AClockThatGoesBackGivesNoTokens) {
  ClientLimits limits;
  limits.begin("a", kSixThousand, 6'000, at(100));
  EXPECT_TRUE(limits.ask("a", kSixThousand, {.tokens = 10}, at(0)));
  EXPECT_TRUE(limits.ask("a", kSixThousand, {.tokens = 10}, at(100)));
}

}  // namespace
}  // namespace deepserve::daemon
