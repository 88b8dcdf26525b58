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

TEST(BookingDesk, EveryOutcomeHasAName) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < static_cast<size_t>(Outcome::kCount); ++i)
    names.insert(ticket_outcome_name(static_cast<Outcome>(i)));
  EXPECT_EQ(names.size(), static_cast<size_t>(Outcome::kCount));
}

}  // namespace
}  // namespace deepserve::daemon
