// What another program leaves of itself for an upgrade in place: the payload of its state, under a header and
// a checksum that are right. What is read is written again as it was read, and of the bookings in it the desk
// makes no promise that it cannot keep.
#include <cstring>

#include "daemon/admission/booking_desk.h"
#include "daemon/upgrade/handed_state.h"
#include "ipc/base/check.h"
#include "ipc/lane/crc32c.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kNow_ns = 1000 * kSecond_ns;

std::vector<std::byte> sealed(std::span<const std::byte> payload) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  for (const char c : {'D', 'S', 'D', 'S', 'T', 'A', 'T', 'E'}) out.put(c);
  out.put(uint32_t{1});
  out.put(uint32_t{1});
  out.put(static_cast<uint64_t>(payload.size()));
  out.put(ipc::crc32c(payload));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

void take_over(std::span<const std::byte> bookings) {
  BookingDesk desk(2, TicketKey{}, 5, 1);
  ByteReader in(bookings);
  desk.take_over(in, kNow_ns);
  const Claimant claimant{"web", 1, ipc::Class::kNormal, 77, 900};
  desk.offer(claimant, 1.0, {.backlog_s = 3.0, .rate = 1.0}, 1, {}, kNow_ns);
  desk.redeem(claimant, "", kNow_ns + kSecond_ns);
  const auto waits_s = desk.calendar().expected_s(1, ipc::Class::kNormal, kNow_ns, kNow_ns + 10 * kSecond_ns);
  CHECK(waits_s >= 0);
  desk.tick(kNow_ns + 100 * kSecond_ns);
  CHECK(desk.calendar().open() == 0);
}

}  // namespace
}  // namespace deepserve::daemon

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepserve::daemon;
  const auto state = HandedState::decode(sealed({reinterpret_cast<const std::byte*>(data), size}));
  if (!state) return 0;
  const auto again = HandedState::decode(state->encode());
  CHECK(again && again->encode() == state->encode());
  take_over(state->bookings);
  return 0;
}
