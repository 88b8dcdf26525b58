#include "daemon/admission/booking_desk.h"

#include <gtest/gtest.h>

#include <set>

namespace deepserve::daemon {
namespace {

using Outcome = TicketOutcome;
constexpr uint64_t kStart_ns = 1000 * kSecond_ns;
constexpr DrainState kBusy{10.0, 1.0};
constexpr DrainState kSwamped{100.0, 1.0};
const Claimant kAsked{"frontend", 0, ipc::Class::kNormal, 0xb0d1, 900};

uint64_t at(double seconds) {
  return kStart_ns + static_cast<uint64_t>(static_cast<int64_t>(seconds * 1e9));
}

BookingDesk made_desk(BookingSerial first_serial = 1) {
  return BookingDesk(1, TicketKey{9}, 7, first_serial);
}

Claimant with_body(uint64_t body_hash) {
  Claimant one = kAsked;
  one.body_hash = body_hash;
  return one;
}

// `body_hash` 0: the body is not known.
Claimant headers_of(uint64_t body_bytes) {
  return {kAsked.client, kAsked.model, kAsked.service_class, 0, body_bytes};
}

TEST(BookingDesk, ARefusedRequestLearnsWhenToComeAndIsOnTimeThen) {
  auto desk = made_desk();
  const auto offer = desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  EXPECT_TRUE(offer.booked);
  EXPECT_EQ(offer.retry_after_ms, 10'000u);
  EXPECT_EQ(desk.redeem(kAsked, offer.ticket, at(9)).outcome, Outcome::kEarly);
  EXPECT_EQ(desk.redeem(kAsked, offer.ticket, at(10)).outcome, Outcome::kOnTime);
}

// Seconds of work that `client` gets booked within the horizon, who asks until there is no slot left for it.
double booked_by(BookingDesk& desk, Claimant client, double weight, uint64_t& body) {
  client.weight = weight;
  double booked_s = 0;
  for (;; booked_s += 0.5) {
    client.body_hash = ++body;
    if (!desk.offer(client, 0.5, {0, 1}, body, {}, kStart_ns).booked) return booked_s;
  }
}

TEST(BookingDesk, ClientsBookByTheirWeightsWhoeverAsksMore) {
  auto desk = made_desk();
  uint64_t body = 0;
  Claimant hog{"hog", 0, ipc::Class::kNormal, 0, 900}, heavy{"heavy", 0, ipc::Class::kNormal, 0, 900};
  heavy.weight = 3;
  heavy.body_hash = ++body;
  ASSERT_TRUE(desk.offer(heavy, 0.5, {0, 1}, 1, {}, kStart_ns).booked) << "both want something";
  EXPECT_NEAR(booked_by(desk, hog, 1, body), 15, 1) << "a quarter of the minute";
  EXPECT_NEAR(booked_by(desk, heavy, 3, body), 45, 1.5) << "what the hog has left, in between";
}

TEST(BookingDesk, AClientAloneHasTheWholeHorizonAndAnEarlierOneHoldsNobodyUpForLong) {
  auto desk = made_desk();
  uint64_t body = 0;
  EXPECT_NEAR(booked_by(desk, kAsked, 1, body), 60, 1);
  Claimant late{"late", 0, ipc::Class::kNormal, ++body, 900};
  EXPECT_FALSE(desk.offer(late, 0.5, {0, 1}, 1, {}, kStart_ns).booked);
  EXPECT_TRUE(desk.offer(late, 0.5, {0, 1}, 1, {}, at(8)).booked) << "once the first slots are over";
  Claimant first = kAsked;
  first.body_hash = ++body;
  EXPECT_FALSE(desk.offer(first, 0.5, {0, 1}, 1, {}, at(9)).booked) << "it has far more than its half";
}

TEST(BookingDesk, ATicketIsGoodOnce) {
  auto desk = made_desk();
  const auto offer = desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  EXPECT_EQ(desk.redeem(kAsked, offer.ticket, at(11)).outcome, Outcome::kOnTime);
  EXPECT_EQ(desk.redeem(kAsked, offer.ticket, at(11)).outcome, Outcome::kReplayed);
  EXPECT_EQ(desk.redeem(kAsked, "", at(11)).outcome, Outcome::kNone);
}

TEST(BookingDesk, ATicketThatIsTooLateIsExpiredEvenOnceItsUseIsForgotten) {
  auto desk = made_desk();
  const auto used = desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  const auto unused = desk.offer(with_body(2), 1.0, kBusy, 2, {}, kStart_ns);
  desk.redeem(kAsked, used.ticket, at(11));
  EXPECT_EQ(desk.redeem(kAsked, used.ticket, at(20)).outcome, Outcome::kExpired);
  EXPECT_EQ(desk.redeem(with_body(2), unused.ticket, at(20)).outcome, Outcome::kExpired);
}

TEST(BookingDesk, WithoutItsTicketABookingIsFoundByClientAndBody) {
  auto desk = made_desk();
  desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  Claimant stranger = kAsked;
  stranger.client = "backend";
  EXPECT_EQ(desk.redeem(stranger, "", at(10)).outcome, Outcome::kNone);
  EXPECT_EQ(desk.redeem(with_body(0xb0d2), "", at(10)).outcome, Outcome::kNone);
  EXPECT_EQ(desk.redeem(kAsked, "", at(10)).outcome, Outcome::kOnTime);
  EXPECT_EQ(desk.redeem(kAsked, "", at(10)).outcome, Outcome::kNone);
}

TEST(BookingDesk, ABookingMadeOnHeadersIsFoundByTheLengthOfTheBody) {
  auto desk = made_desk();
  const auto offer = desk.offer(headers_of(900), 1.0, kBusy, 1, {}, kStart_ns);
  EXPECT_EQ(desk.look(headers_of(900), "", at(10)).outcome, Outcome::kOnTime);
  EXPECT_EQ(desk.look(headers_of(901), "", at(10)).outcome, Outcome::kNone);
  EXPECT_EQ(desk.redeem(kAsked, "", at(10)).outcome, Outcome::kOnTime);
  EXPECT_EQ(desk.redeem(kAsked, offer.ticket, at(10)).outcome, Outcome::kReplayed);
}

TEST(BookingDesk, LookingUsesNothingUp) {
  auto desk = made_desk();
  const auto offer = desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(desk.look(headers_of(900), offer.ticket, at(10)).outcome, Outcome::kOnTime);
  EXPECT_EQ(desk.redeem(kAsked, offer.ticket, at(10)).outcome, Outcome::kOnTime);
}

TEST(BookingDesk, WhoShowsHisTicketEarlyKeepsHisSlot) {
  auto desk = made_desk();
  const auto first = desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  const auto back = desk.redeem(kAsked, first.ticket, at(4));
  const auto second = desk.offer(kAsked, 1.0, kBusy, 2, back, at(4));
  EXPECT_EQ(second.ticket, first.ticket);
  EXPECT_EQ(second.retry_after_ms, 6'000u);
  EXPECT_EQ(desk.calendar().open(), 1u);
}

TEST(BookingDesk, EqualRequestsEachGetASlotAndReturnInItsOrder) {
  auto desk = made_desk();
  const auto first = desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  const auto second = desk.offer(kAsked, 1.0, kBusy, 2, {}, kStart_ns);
  EXPECT_EQ(second.instant_ns, first.instant_ns + kSecond_ns);
  EXPECT_EQ(desk.redeem(kAsked, "", at(11)).instant_ns, first.instant_ns);
  EXPECT_EQ(desk.redeem(kAsked, first.ticket, at(11)).outcome, Outcome::kReplayed);
  EXPECT_EQ(desk.redeem(kAsked, second.ticket, at(11)).outcome, Outcome::kOnTime);
}

TEST(BookingDesk, WhoRepeatsOneRequestWithoutEndBooksOnlySoMuch) {
  auto desk = made_desk();
  std::set<std::string> tickets;
  for (size_t i = 0; i < 2 * BookingDesk::kEqualMax; ++i)
    tickets.insert(desk.offer(kAsked, 0.001, kBusy, i + 1, {}, kStart_ns).ticket);
  EXPECT_EQ(tickets.size(), BookingDesk::kEqualMax);
  EXPECT_EQ(desk.calendar().open(), BookingDesk::kEqualMax);
}

TEST(BookingDesk, WhoCameOnTimeAndIsRefusedAllTheSameGetsANewSlot) {
  auto desk = made_desk();
  const auto first = desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  ASSERT_EQ(desk.redeem(kAsked, first.ticket, at(10)).outcome, Outcome::kOnTime);
  const auto second = desk.offer(kAsked, 1.0, kBusy, 2, {}, at(10));
  EXPECT_TRUE(second.booked);
  EXPECT_EQ(second.instant_ns, at(20));
  EXPECT_NE(second.ticket, first.ticket);
}

TEST(BookingDesk, WhoWasServedEarlyGivesHisSlotBack) {
  auto desk = made_desk();
  const auto offer = desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  desk.release(desk.redeem(kAsked, offer.ticket, at(5)).serial);
  EXPECT_EQ(desk.calendar().open(), 0u);
  EXPECT_EQ(desk.redeem(kAsked, "", at(10)).outcome, Outcome::kNone);
}

TEST(BookingDesk, BeyondTheHorizonThereIsNoPromiseAndTheReturnsAreSpread) {
  auto desk = made_desk();
  std::set<uint64_t> times;
  for (ipc::RequestId id = 1; id <= 100; ++id) {
    const auto offer = desk.offer(with_body(id), 1.0, kSwamped, id, {}, kStart_ns);
    EXPECT_FALSE(offer.booked);
    EXPECT_TRUE(offer.ticket.empty());
    EXPECT_GE(offer.retry_after_ms, BookingDesk::kFarMin_ms);
    EXPECT_LE(offer.retry_after_ms, BookingDesk::kFarMax_ms);
    times.insert(offer.retry_after_ms);
  }
  EXPECT_GT(times.size(), 90u);
  EXPECT_EQ(desk.calendar().open(), 0u);
}

TEST(BookingDesk, ForgedAndForeignTicketsAreAsNone) {
  auto desk = made_desk();
  const auto offer = desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  Claimant thief = kAsked;
  thief.client = "thief";
  EXPECT_EQ(desk.redeem(thief, offer.ticket, at(10)).outcome, Outcome::kForeign);
  EXPECT_EQ(desk.redeem(kAsked, std::string(TicketOffice::kTextBytes, 'x'), at(10)).outcome,
            Outcome::kForged);
  EXPECT_EQ(desk.redeem(kAsked, offer.ticket, at(10)).outcome, Outcome::kOnTime);
}

TEST(BookingDesk, ATicketOutlivesTheDaemonThatMadeIt) {
  auto before = made_desk(1'000);
  const auto offer = before.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  auto after = made_desk(2'000);
  EXPECT_EQ(after.redeem(kAsked, offer.ticket, at(10)).outcome, Outcome::kOnTime);
  EXPECT_EQ(after.redeem(kAsked, offer.ticket, at(10)).outcome, Outcome::kReplayed);
}

TEST(BookingDesk, AClockThatJumpsGainsNobodyPriority) {
  auto desk = made_desk();
  const auto offer = desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  // Far back: its instant is further ahead than any that is ever promised.
  EXPECT_EQ(desk.look(kAsked, offer.ticket, at(-600)).outcome, Outcome::kExpired);
  EXPECT_EQ(desk.look(kAsked, offer.ticket, at(600)).outcome, Outcome::kExpired);
}

TEST(BookingDesk, AMissedBookingLeavesNothingBehind) {
  auto desk = made_desk();
  desk.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  desk.tick(at(16));
  EXPECT_EQ(desk.calendar().open(), 0u);
  EXPECT_EQ(desk.redeem(kAsked, "", at(16)).outcome, Outcome::kNone);
}

// As an upgrade in place does it.
std::vector<std::byte> encoded(const BookingDesk& desk) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  desk.encode(out);
  return bytes;
}
bool take_over(BookingDesk& desk, std::span<const std::byte> bytes, uint64_t now_ns) {
  ByteReader in(bytes);
  desk.take_over(in, now_ns);
  return in.ok();
}

TEST(BookingDesk, TheNextOneKeepsWhatWasPromisedAndWhatIsUsedUp) {
  auto before = made_desk();
  const Claimant unknown = headers_of(900);
  const auto used = before.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  ASSERT_EQ(before.redeem(kAsked, used.ticket, at(10)).outcome, Outcome::kOnTime);
  const auto by_ticket = before.offer(with_body(1), 1.0, kBusy, 2, {}, at(10));
  const auto by_body = before.offer(with_body(2), 1.0, kBusy, 3, {}, at(10));
  const auto by_head = before.offer(unknown, 1.0, kBusy, 4, {}, at(10));
  auto after = made_desk();
  ASSERT_TRUE(take_over(after, encoded(before), at(10)));
  EXPECT_EQ(encoded(after).size(), encoded(before).size());
  EXPECT_EQ(after.redeem(kAsked, used.ticket, at(10.1)).outcome, Outcome::kReplayed);
  EXPECT_EQ(after.calendar().open(), 3u);
  EXPECT_TRUE(after.may_be_due(unknown, by_ticket.instant_ns));
  EXPECT_EQ(after.redeem(with_body(1), by_ticket.ticket, by_ticket.instant_ns).outcome, Outcome::kOnTime);
  EXPECT_EQ(after.redeem(with_body(2), "", by_body.instant_ns).outcome, Outcome::kOnTime);
  EXPECT_EQ(after.redeem(unknown, "", by_head.instant_ns).outcome, Outcome::kOnTime);
  EXPECT_EQ(after.calendar().open(), 0u);
}

// Of two bookings of one serial, one would be refused for what the other has used up.
TEST(BookingDesk, TheNextOneGivesNoSerialTwice) {
  auto before = made_desk();
  std::set<BookingSerial> serials;
  for (uint64_t i = 1; i <= 20; ++i)
    serials.insert(before.offer(with_body(i), 0.1, kBusy, i, {}, kStart_ns).serial);
  auto after = made_desk(7);
  ASSERT_TRUE(take_over(after, encoded(before), kStart_ns));
  for (uint64_t i = 21; i <= 40; ++i)
    serials.insert(after.offer(with_body(i), 0.1, kBusy, i, {}, kStart_ns).serial);
  EXPECT_EQ(serials.size(), 40u);
}

TEST(BookingDesk, WhatItLearntOfClaimsGoesOn) {
  auto before = made_desk();
  for (uint64_t i = 1; i <= 40; ++i) before.offer(with_body(i), 0.1, kBusy, i, {}, kStart_ns);
  for (int second = 0; second < 40; ++second) before.tick(at(second));
  const double learnt = before.calendar().claim_rate(0, ipc::Class::kNormal);
  ASSERT_LT(learnt, 0.5);
  auto after = made_desk();
  ASSERT_TRUE(take_over(after, encoded(before), at(40)));
  EXPECT_EQ(after.calendar().claim_rate(0, ipc::Class::kNormal), learnt);
}

TEST(BookingDesk, BookingsOfAnotherTimeOrThatCannotBeAreNotTakenOver) {
  auto before = made_desk();
  before.offer(kAsked, 1.0, kBusy, 1, {}, kStart_ns);
  const auto bytes = encoded(before);
  for (const double seconds : {-100.0, 100.0}) {
    auto after = made_desk();
    EXPECT_TRUE(take_over(after, bytes, at(seconds)));
    EXPECT_EQ(after.calendar().open(), 0u);
  }
  for (size_t size = 0; size < bytes.size(); ++size) {
    auto after = made_desk();
    EXPECT_FALSE(take_over(after, std::span(bytes.data(), size), kStart_ns)) << size;
  }
  // Whatever one byte says: it is read within its bounds and the desk works on.
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {1, 0x80, 0xff}) {
      auto changed = bytes;
      changed[i] ^= static_cast<std::byte>(flip);
      auto after = made_desk();
      take_over(after, changed, kStart_ns);
      after.offer(with_body(2), 1.0, kBusy, 2, {}, kStart_ns);
      after.tick(at(200));
      EXPECT_EQ(after.calendar().open(), 0u);
    }
  }
}

}  // namespace
}  // namespace deepserve::daemon
