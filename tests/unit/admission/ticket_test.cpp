#include "daemon/admission/ticket.h"

#include <gtest/gtest.h>

#include <set>

namespace deepserve::daemon {
namespace {

constexpr uint64_t kEpoch = 7;

TicketKey key_of(uint8_t first) {
  TicketKey key{};
  key[0] = first;
  return key;
}

const Claimant kAsked{"frontend", 1, ipc::Class::kNormal, 0xb0d1, 900};

TEST(Ticket, ComesBackAsItWasIssued) {
  const TicketOffice office(key_of(1), kEpoch);
  const std::string text = office.issue(kAsked, 42, 5'000'000'000);
  EXPECT_EQ(text.size(), TicketOffice::kTextBytes);
  const auto checked = office.check(text, kAsked);
  EXPECT_EQ(checked.fault, TicketFault::kNone);
  EXPECT_EQ(checked.ticket.serial, 42u);
  EXPECT_EQ(checked.ticket.instant_ns, 5'000'000'000u);
  EXPECT_EQ(checked.ticket.body_bytes, 900u);
}

TEST(Ticket, OneChangedCharacterAnywhereIsNeverAccepted) {
  const TicketOffice office(key_of(1), kEpoch);
  const std::string text = office.issue(kAsked, 42, 5'000'000'000);
  for (size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'A', 'B', '_', '=', ' ', '\0', '\xff'}) {
      if (text[i] == c) continue;
      std::string changed = text;
      changed[i] = c;
      EXPECT_NE(office.check(changed, kAsked).fault, TicketFault::kNone) << i;
    }
  }
}

TEST(Ticket, OtherLengthsAndOtherKeysAreForged) {
  const TicketOffice office(key_of(1), kEpoch);
  const std::string text = office.issue(kAsked, 42, 5'000'000'000);
  for (const std::string& other : {std::string(), text.substr(1), text + "A", std::string(10'000, 'A'),
                                   std::string(TicketOffice::kTextBytes, 'A'),
                                   TicketOffice(key_of(2), kEpoch).issue(kAsked, 42, 5'000'000'000)}) {
    EXPECT_EQ(office.check(other, kAsked).fault, TicketFault::kForged);
  }
}

TEST(Ticket, IsForeignToAnotherClientModelClassOrBody) {
  const TicketOffice office(key_of(1), kEpoch);
  const std::string text = office.issue(kAsked, 42, 5'000'000'000);
  std::vector<Claimant> others(4, kAsked);
  others[0].client = "backend";
  others[1].model = 0;
  others[2].service_class = ipc::Class::kVip;
  others[3].body_hash = 0xb0d2;
  for (const auto& other : others) EXPECT_EQ(office.check(text, other).fault, TicketFault::kForeign);
}

TEST(Ticket, MadeOnHeadersAloneFitsAnyBodyThatIsNoLonger) {
  const TicketOffice office(key_of(1), kEpoch);
  Claimant headers = kAsked;
  headers.body_hash = 0;
  const std::string text = office.issue(headers, 42, 5'000'000'000);
  Claimant whole = kAsked;
  EXPECT_EQ(office.check(text, headers).fault, TicketFault::kNone);
  EXPECT_EQ(office.check(text, whole).fault, TicketFault::kNone);
  whole.body_bytes = 901;
  EXPECT_EQ(office.check(text, whole).fault, TicketFault::kForeign);
}

TEST(Ticket, OnHeadersAloneABoundBodyIsJudgedByItsLength) {
  const TicketOffice office(key_of(1), kEpoch);
  const std::string text = office.issue(kAsked, 42, 5'000'000'000);
  Claimant headers = kAsked;
  headers.body_hash = 0;
  EXPECT_EQ(office.check(text, headers).fault, TicketFault::kNone);
  headers.body_bytes = 901;
  EXPECT_EQ(office.check(text, headers).fault, TicketFault::kForeign);
}

TEST(Ticket, OfAnEarlierBootIsExpired) {
  const std::string text = TicketOffice(key_of(1), kEpoch).issue(kAsked, 42, 5'000'000'000);
  EXPECT_EQ(TicketOffice(key_of(1), kEpoch + 1).check(text, kAsked).fault, TicketFault::kExpired);
}

TEST(Ticket, IsTheSameTextForTheSameBooking) {
  const TicketOffice office(key_of(1), kEpoch);
  EXPECT_EQ(office.issue(kAsked, 42, 5), office.issue(kAsked, 42, 5));
  EXPECT_NE(office.issue(kAsked, 42, 5), office.issue(kAsked, 43, 5));
}

TEST(Ticket, HashesAreNeverZeroAndDiffer) {
  std::set<uint64_t> seen{0};
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(seen.insert(short_hash(std::to_string(i))).second);
}

TEST(Ticket, MadeBeforeModelOrClassWereKnownIsForWhicheverTheyAre) {
  const TicketOffice office(key_of(1), kEpoch);
  auto vague = kAsked;
  vague.any_model = vague.any_class = true;
  const std::string text = office.issue(vague, 42, 5'000'000'000);
  auto other = kAsked;
  other.model = 0;
  other.service_class = ipc::Class::kBatch;
  EXPECT_EQ(office.check(text, other).fault, TicketFault::kNone);
  other.client = "backend";
  EXPECT_EQ(office.check(text, other).fault, TicketFault::kForeign);
  // What a head does not tell is no reason to turn its ticket down.
  EXPECT_EQ(office.check(office.issue(kAsked, 43, 5'000'000'000), vague).fault, TicketFault::kNone);
  auto any_model = kAsked;
  any_model.any_model = true;
  other = kAsked;
  other.service_class = ipc::Class::kVip;
  EXPECT_EQ(office.check(office.issue(any_model, 44, 5'000'000'000), other).fault, TicketFault::kForeign);
}

}  // namespace
}  // namespace deepserve::daemon
