// A retry with a ticket: who comes, when, and what of a good ticket was changed on the way, or any text at
// all instead of it. What was not issued so, to this client, for this, is never honoured; what was is so
// once.
//
// The first byte says who comes (kWho), the second what becomes of the ticket (kText), four bytes say when,
// in milliseconds; the rest is the text, or is added to the good ticket's, byte by byte.
#include <array>
#include <cstring>

#include "daemon/admission/booking_desk.h"
#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kNow_ns = 1000 * kSecond_ns;
constexpr size_t kHead = 6;

enum Who : uint8_t { kOtherClient = 1, kOtherModel = 2, kOtherClass = 4, kOtherBody = 8, kMoreBytes = 16 };
enum Text : uint8_t { kAny = 1, kCut = 2, kOtherKey = 4, kOtherBoot = 8 };

TicketKey key_of(uint8_t value) {
  TicketKey key;
  key.fill(value);
  return key;
}

struct Retry {
  Claimant claimant{"uid:1000", 1, ipc::Class::kNormal, 77, 900};
  bool is_other = false;

  explicit Retry(uint8_t who) : is_other((who & 31) != 0) {
    if ((who & kOtherClient) != 0) claimant.client = "uid:1001";
    if ((who & kOtherModel) != 0) claimant.model = 0;
    if ((who & kOtherClass) != 0) claimant.service_class = ipc::Class::kVip;
    if ((who & kOtherBody) != 0) claimant.body_hash = 78;
    if ((who & kMoreBytes) != 0) claimant.body_hash = 0, claimant.body_bytes = 901;
  }
};

std::string changed(std::string ticket, uint8_t how, std::string_view rest) {
  if ((how & kAny) != 0) return std::string(rest);
  if ((how & kCut) != 0) ticket.resize(rest.size() % (ticket.size() + 1));
  for (size_t i = 0; i < std::min(ticket.size(), rest.size()); ++i) ticket[i] += rest[i];
  return ticket;
}

}  // namespace
}  // namespace deepserve::daemon

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepserve::daemon;
  if (size < kHead) return 0;
  const uint8_t how = data[1];
  const bool is_ours = (how & (kOtherKey | kOtherBoot)) == 0;
  uint32_t later_ms = 0;
  std::memcpy(&later_ms, data + 2, sizeof later_ms);
  const Retry retry(data[0]);
  const std::string_view rest(reinterpret_cast<const char*>(data) + kHead, size - kHead);

  BookingDesk desk(2, key_of(1), 5, 1);
  BookingDesk strange(2, key_of((how & kOtherKey) != 0 ? 2 : 1), (how & kOtherBoot) != 0 ? 6 : 5, 1);
  BookingDesk& issuer = is_ours ? desk : strange;
  const auto offer = issuer.offer(Retry(0).claimant, 2.0, {.backlog_s = 3.0, .rate = 1.0}, 1, {}, kNow_ns);
  CHECK(offer.booked);
  const std::string text = changed(offer.ticket, how, rest);
  const bool is_good = is_ours && !retry.is_other && text == offer.ticket;

  const uint64_t now_ns = kNow_ns + later_ms * deepserve::kMillisecond_ns;
  const bool in_time = now_ns + DrainCalendar::kEarly_ns >= offer.instant_ns &&
                       now_ns <= offer.instant_ns + DrainCalendar::kGrace_ns;
  if (text.empty()) return 0;  // no ticket at all: the booking is found by client and body
  const auto back = desk.redeem(retry.claimant, text, now_ns);
  CHECK((back.outcome == TicketOutcome::kOnTime) == (is_good && in_time));
  if (!is_good) CHECK(back.outcome != TicketOutcome::kEarly);
  CHECK(desk.redeem(retry.claimant, text, now_ns).outcome != TicketOutcome::kOnTime);
  return 0;
}
