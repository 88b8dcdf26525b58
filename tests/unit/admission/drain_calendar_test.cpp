#include "daemon/admission/drain_calendar.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace deepserve::daemon {
namespace {

using Claim = DrainCalendar::Claim;
constexpr auto kNormal = ipc::Class::kNormal;
constexpr auto kBatch = ipc::Class::kBatch;
constexpr uint64_t kStart_ns = 1000 * kSecond_ns;
constexpr DrainState kIdle{0, 1.0};

uint64_t at(double seconds) {
  return kStart_ns + static_cast<uint64_t>(seconds * 1e9);
}

double instant_s(const std::optional<Booking>& booking) {
  return static_cast<double>(booking.value().instant_ns - kStart_ns) * 1e-9;
}

// Lets `count` bookings of 1 ms pass unclaimed.
void miss(DrainCalendar& calendar, int count, uint64_t now_ns) {
  for (int i = 0; i < count; ++i) ASSERT_TRUE(calendar.book(0, kNormal, 0.001, kIdle, now_ns));
  calendar.expire(now_ns + DrainCalendar::kHorizon_ns + DrainCalendar::kGrace_ns + 1);
}

TEST(DrainCalendar, EachBookingGetsASlotOfItsOwnBehindTheBacklog) {
  DrainCalendar calendar(1);
  const DrainState line{4.0, 2.0};
  EXPECT_NEAR(instant_s(calendar.book(0, kNormal, 1.0, line, kStart_ns)), 2.0, 1e-6);
  EXPECT_NEAR(instant_s(calendar.book(0, kNormal, 3.0, line, kStart_ns)), 2.5, 1e-6);
  EXPECT_NEAR(instant_s(calendar.book(0, kNormal, 1.0, line, kStart_ns)), 4.0, 1e-6);
}

TEST(DrainCalendar, LinesOfOtherModelsAndClassesAreNotInTheWay) {
  DrainCalendar calendar(2);
  ASSERT_TRUE(calendar.book(0, kNormal, 50.0, kIdle, kStart_ns));
  EXPECT_NEAR(instant_s(calendar.book(1, kNormal, 1.0, kIdle, kStart_ns)), 0.0, 1e-6);
  EXPECT_NEAR(instant_s(calendar.book(0, kBatch, 1.0, kIdle, kStart_ns)), 0.0, 1e-6);
}

TEST(DrainCalendar, BeyondTheHorizonThereIsNoSlot) {
  DrainCalendar calendar(1);
  EXPECT_NEAR(instant_s(calendar.book(0, kNormal, 10.0, {60.0, 1.0}, kStart_ns)), 60.0, 1e-6);
  EXPECT_FALSE(calendar.book(0, kNormal, 10.0, {60.1, 1.0}, kStart_ns));
}

TEST(DrainCalendar, ALineThatDoesNotDrainBooksNothing) {
  DrainCalendar calendar(1);
  EXPECT_FALSE(calendar.book(0, kNormal, 1.0, {0, 0}, kStart_ns));
}

TEST(DrainCalendar, ACalendarThatIsFullToTheHorizonTakesNoMore) {
  DrainCalendar calendar(1);
  int booked = 0;
  while (calendar.book(0, kNormal, 0.5, kIdle, kStart_ns)) ++booked;
  EXPECT_NEAR(booked, 121, 1);
  // Time passes, the promised work is done, and there is room again for as much as has passed.
  EXPECT_TRUE(calendar.book(0, kNormal, 0.5, kIdle, at(66)));
}

TEST(DrainCalendar, AGapIsFilledByWhatFitsAndNotByWhatWouldBreakAPromise) {
  DrainCalendar calendar(1);
  // Promised while ten seconds of work were ahead; then that work went away.
  ASSERT_NEAR(instant_s(calendar.book(0, kNormal, 5.0, {10.0, 1.0}, kStart_ns)), 10.0, 1e-6);
  EXPECT_NEAR(instant_s(calendar.book(0, kNormal, 4.0, kIdle, kStart_ns)), 0.0, 1e-6);
  // Ten seconds in all until the promise: seven more would be in its way, five are not.
  EXPECT_GE(instant_s(calendar.book(0, kNormal, 7.0, kIdle, kStart_ns)), 9.0);
  EXPECT_NEAR(instant_s(calendar.book(0, kNormal, 5.0, kIdle, kStart_ns)), 4.0, 1e-6);
}

TEST(DrainCalendar, OnTimeIsFromJustBeforeTheInstantToTheEndOfTheGrace) {
  DrainCalendar calendar(1);
  const DrainState line{10.0, 1.0};
  const auto one = calendar.book(0, kNormal, 1.0, line, kStart_ns).value();
  const auto other = calendar.book(0, kNormal, 1.0, line, kStart_ns).value();
  EXPECT_EQ(calendar.claim(one.serial, at(9.7)), Claim::kEarly);
  EXPECT_EQ(calendar.claim(one.serial, at(9.8)), Claim::kOnTime);
  EXPECT_EQ(calendar.claim(one.serial, at(9.8)), Claim::kUnknown);
  EXPECT_EQ(calendar.claim(other.serial, at(16.0)), Claim::kOnTime);
}

TEST(DrainCalendar, WhoComesTooLateFindsNothing) {
  DrainCalendar calendar(1);
  const auto one = calendar.book(0, kNormal, 1.0, kIdle, kStart_ns).value();
  EXPECT_EQ(calendar.claim(one.serial, at(5.1)), Claim::kUnknown);
  EXPECT_EQ(calendar.open(), 0u);
}

TEST(DrainCalendar, MissedBookingsAreToldAndMakeLaterOnesCountForLess) {
  DrainCalendar calendar(1);
  const auto one = calendar.book(0, kNormal, 1.0, kIdle, kStart_ns).value();
  std::vector<BookingSerial> missed;
  calendar.expire(at(5.1), [&](const Booking& booking) { missed.push_back(booking.serial); });
  EXPECT_EQ(missed, std::vector<BookingSerial>{one.serial});
  EXPECT_LT(calendar.claim_rate(0, kNormal), 1.0);
  EXPECT_EQ(calendar.claim_rate(0, kBatch), 1.0);
}

TEST(DrainCalendar, WhatIsHardlyEverClaimedIsHardlyReckonedWithButNeverForgotten) {
  DrainCalendar calendar(1);
  miss(calendar, 500, kStart_ns);
  const uint64_t now_ns = at(100);
  ASSERT_TRUE(calendar.book(0, kNormal, 10.0, kIdle, now_ns));
  EXPECT_NEAR(calendar.expected_s(0, kNormal, now_ns, now_ns + kSecond_ns), 0.2, 1e-6);
  EXPECT_NEAR(calendar.claim_rate(0, kNormal), 0.02, 1e-9);
}

TEST(DrainCalendar, ClaimsRestoreTheRate) {
  DrainCalendar calendar(1);
  miss(calendar, 50, kStart_ns);
  const double before = calendar.claim_rate(0, kNormal);
  for (int i = 0; i < 100; ++i) {
    const auto one = calendar.book(0, kNormal, 0.001, kIdle, at(100)).value();
    ASSERT_EQ(calendar.claim(one.serial, at(100.1)), Claim::kOnTime);
  }
  EXPECT_LT(before, 0.5);
  calendar.expire(at(106));
  EXPECT_GT(calendar.claim_rate(0, kNormal), 0.95);
}

TEST(DrainCalendar, AClaimCountsWhenTheMissesOfItsTimeDo) {
  DrainCalendar calendar(1);
  miss(calendar, 20, kStart_ns - 100 * kSecond_ns);
  const auto claimed = calendar.book(0, kNormal, 0.001, kIdle, kStart_ns).value();
  ASSERT_TRUE(calendar.book(0, kNormal, 0.001, kIdle, kStart_ns));
  const double before = calendar.claim_rate(0, kNormal);
  ASSERT_EQ(calendar.claim(claimed.serial, at(0.1)), Claim::kOnTime);
  EXPECT_EQ(calendar.claim_rate(0, kNormal), before);
  calendar.expire(at(5.5));
  EXPECT_LT(std::abs(calendar.claim_rate(0, kNormal) - before), 1.0 / 32);  // one came, one did not
  EXPECT_NE(calendar.claim_rate(0, kNormal), before);
}

TEST(DrainCalendar, FreshWorkIsHeldAgainstWhatIsPromisedUntilThenAlone) {
  DrainCalendar calendar(1);
  const DrainState line{10.0, 1.0};
  ASSERT_TRUE(calendar.book(0, kNormal, 2.0, line, kStart_ns));
  ASSERT_TRUE(calendar.book(0, kNormal, 2.0, line, kStart_ns));
  EXPECT_NEAR(calendar.expected_s(0, kNormal, kStart_ns, at(9)), 0.0, 1e-9);
  EXPECT_NEAR(calendar.expected_s(0, kNormal, kStart_ns, at(11)), 2.0, 1e-9);
  EXPECT_NEAR(calendar.expected_s(0, kNormal, kStart_ns, at(60)), 4.0, 1e-9);
}

TEST(DrainCalendar, WhoIsLateByMoreThanASecondIsReckonedWithNoLongerButMayStillClaim) {
  DrainCalendar calendar(1);
  const auto one = calendar.book(0, kNormal, 2.0, kIdle, kStart_ns).value();
  EXPECT_NEAR(calendar.expected_s(0, kNormal, at(0.5), at(3)), 2.0, 1e-9);
  EXPECT_NEAR(calendar.expected_s(0, kNormal, at(2), at(3)), 0.0, 1e-9);
  EXPECT_EQ(calendar.claim(one.serial, at(2)), Claim::kOnTime);
}

TEST(DrainCalendar, AReleasedBookingGivesItsSlotBackAndTeachesNothing) {
  DrainCalendar calendar(1);
  const auto one = calendar.book(0, kNormal, 30.0, kIdle, kStart_ns).value();
  EXPECT_TRUE(calendar.release(one.serial));
  EXPECT_FALSE(calendar.release(one.serial));
  EXPECT_EQ(calendar.claim_rate(0, kNormal), 1.0);
  EXPECT_NEAR(instant_s(calendar.book(0, kNormal, 1.0, kIdle, kStart_ns)), 0.0, 1e-6);
}

TEST(DrainCalendar, OpenBookingsAreBounded) {
  DrainCalendar calendar(1);
  for (size_t i = 0; i < DrainCalendar::kBookingsMax; ++i)
    ASSERT_TRUE(calendar.book(0, kNormal, 1e-6, kIdle, kStart_ns));
  EXPECT_FALSE(calendar.book(0, kNormal, 1e-6, kIdle, kStart_ns));
  EXPECT_TRUE(calendar.book(0, kNormal, 1e-6, kIdle, at(70)));
}

TEST(DrainCalendar, ADaemonThatStartsAtTimeZeroBooksAsAnyOther) {
  DrainCalendar calendar(1);
  EXPECT_EQ(calendar.book(0, kNormal, 1.0, kIdle, 0).value().instant_ns, 0u);
}

// Whoever comes at his instant finds the work before him done, whatever was booked later.
TEST(DrainCalendar, NoPromiseIsBrokenByALaterOne) {
  constexpr unsigned kSeed = 20260523;
  RecordProperty("seed", std::to_string(kSeed));
  std::mt19937 random(kSeed);
  DrainCalendar calendar(1);
  std::vector<Booking> all;
  const auto number = [&random](double below) {
    return std::uniform_real_distribution<>(0.01, below)(random);
  };
  double busy_until_s = 20;
  int kept = 0;
  const auto by_instant = [](const Booking& a, const Booking& b) { return a.instant_ns < b.instant_ns; };
  for (double now_s = 0; now_s < 90; now_s += number(0.5)) {
    std::sort(all.begin(), all.end(), by_instant);
    while (!all.empty() && all.front().instant_ns <= at(now_s)) {
      const double promised_s = static_cast<double>(all.front().instant_ns - kStart_ns) * 1e-9;
      ASSERT_EQ(calendar.claim(all.front().serial, all.front().instant_ns), Claim::kOnTime);
      EXPECT_LE(busy_until_s, promised_s + 0.26) << "booking " << all.front().serial;  // a bucket's width
      busy_until_s = std::max(busy_until_s, promised_s) + all.front().cost_s;
      all.erase(all.begin());
      ++kept;
    }
    if (now_s > 40) continue;
    const DrainState line{std::max(0.0, busy_until_s - now_s), 1.0};
    if (const auto one = calendar.book(0, kNormal, number(3.0), line, at(now_s))) all.push_back(*one);
  }
  EXPECT_GT(kept, 30);
}

}  // namespace
}  // namespace deepserve::daemon
