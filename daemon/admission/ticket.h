// Tickets: a signed note of a booking that a refused client carries to its retry (DESIGN 7). Pure.
//
// Bound to client, class, model, work and instant, and to the body where it was known when the ticket was
// made (at stage 0 only its length is). Signed with HMAC-SHA256 (RFC 2104), of which 20 bytes are kept; the
// check takes the same time wherever signatures differ. Instants are of CLOCK_MONOTONIC, which no clock
// setting moves; `epoch` tells the boots of a host apart, whose monotonic clocks have nothing in common.
//
// As text: base64url (RFC 4648 section 5) without padding, kTextBytes long.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

using TicketKey = std::array<uint8_t, 32>;  // secret; random

// Who comes with a request, and with what.
struct Claimant {
  std::string_view client;
  uint32_t model = 0;
  ipc::Class service_class = ipc::Class::kNormal;
  uint64_t body_hash = 0;   // 0: the body is not known yet
  uint64_t body_bytes = 0;  // its length, as in Content-Length
};

struct Ticket {
  uint64_t serial = 0;
  uint64_t instant_ns = 0;
  uint32_t model = 0;
  ipc::Class service_class = ipc::Class::kNormal;
  uint64_t client_hash = 0;
  uint64_t body_hash = 0;   // 0: any body of at most body_bytes
  uint64_t body_bytes = 0;  // told up to 4 GiB
};

// 64 bits of the SHA-256 of `text`; never 0.
uint64_t short_hash(std::string_view text);

enum class TicketFault : uint8_t {
  kNone,
  kForged,   // not signed with this key: made up, cut, changed, or of another server
  kForeign,  // signed for another client, model, class, body, or for less
  kExpired,  // of an earlier boot of the host
  kCount,
};

class TicketOffice {
 public:
  static constexpr size_t kTextBytes = 96;

  TicketOffice(const TicketKey& key, uint64_t epoch) : key_(key), epoch_(epoch) {}

  // A ticket for this claimant's booking.
  std::string issue(const Claimant& claimant, uint64_t serial, uint64_t instant_ns) const;

  struct Checked {
    TicketFault fault = TicketFault::kNone;
    Ticket ticket;  // what it says; only where there is no fault
  };
  // Whether `text` is a ticket of ours and this claimant's. Its time and its use are the caller's to judge.
  Checked check(std::string_view text, const Claimant& claimant) const;

 private:
  const TicketKey key_;
  const uint64_t epoch_;
};

}  // namespace deepserve::daemon
