// When a model is wanted again, told from when it was before.
#include "daemon/rollout/demand_history.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

constexpr uint64_t kMinute_ns = 60'000'000'000;

DemandHistory after(std::initializer_list<uint64_t> minutes) {
  DemandHistory history;
  for (const uint64_t pause : minutes) history.add(pause * kMinute_ns);
  return history;
}

TEST(DemandHistory, ExpectsNothingAfterFewPauses) {
  EXPECT_FALSE(after({}).expected(kMinute_ns));
  EXPECT_FALSE(after({60, 60, 60}).expected(kMinute_ns));
}

TEST(DemandHistory, ExpectsWhatHasAlwaysBeen) {
  const auto expected = after({60, 62, 61, 60}).expected(2 * kMinute_ns);
  ASSERT_TRUE(expected);
  EXPECT_EQ(expected->from_ns, 60 * kMinute_ns);
  EXPECT_EQ(expected->until_ns, 62 * kMinute_ns);
}

TEST(DemandHistory, ExpectsNothingWherePausesDifferMoreThanTheModelMayBeKeptForNothing) {
  EXPECT_FALSE(after({60, 62, 61, 60}).expected(2 * kMinute_ns - 1));
  EXPECT_FALSE(after({10, 900, 30, 31}).expected(10 * kMinute_ns));
}

TEST(DemandHistory, IsNotPutOffByOnePauseOfTen) {
  const auto expected = after({60, 61, 60, 5, 60, 61, 60, 60, 900, 61}).expected(2 * kMinute_ns);
  ASSERT_TRUE(expected);
  EXPECT_EQ(expected->from_ns, 60 * kMinute_ns);
  EXPECT_EQ(expected->until_ns, 61 * kMinute_ns);
}

TEST(DemandHistory, FollowsANewHabit) {
  DemandHistory history;
  for (size_t i = 0; i < 100; ++i) history.add(60 * kMinute_ns);
  for (size_t i = 0; i < DemandHistory::kPausesMax; ++i) history.add(30 * kMinute_ns);
  ASSERT_TRUE(history.expected(0));
  EXPECT_EQ(history.expected(0)->from_ns, 30 * kMinute_ns);
  EXPECT_EQ(history.pauses_ns().size(), DemandHistory::kPausesMax);
}

}  // namespace
}  // namespace deepserve::daemon
