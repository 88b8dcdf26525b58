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
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "ipc/wire/messages.h"

struct evp_mac_ctx_st;  // OpenSSL's EVP_MAC_CTX

namespace deepserve::daemon {

using TicketKey = std::array<uint8_t, 32>;  // secret; random

// Who comes with a request, and with what.
struct Claimant {
  std::string_view client;
  uint32_t model = 0;
  ipc::Class service_class = ipc::Class::kNormal;
  uint64_t body_hash = 0;   // 0: the body is not known yet
  uint64_t body_bytes = 0;  // its length, as in Content-Length
  // Which stands in a body that is not known yet: a ticket made so is for whichever it turns out to be, and
  // what the others say of it is only where the slot is.
  bool any_model = false;
  bool any_class = false;
  uint64_t client_hash = 0;  // its short_hash(); 0: still to be computed
  double weight = 1;         // of the client; no ticket is bound to it

  uint64_t hash_of_client() const;
};

struct Ticket {
  static constexpr uint32_t kAnyModel = 0xffff;
  static constexpr uint8_t kAnyClass = 0xff;

  uint64_t serial = 0;
  uint64_t instant_ns = 0;
  uint32_t model = 0;         // or kAnyModel
  uint8_t service_class = 0;  // or kAnyClass
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

  TicketOffice(const TicketKey& key, uint64_t epoch);

  // A ticket for this claimant's booking.
  std::string issue(const Claimant& claimant, uint64_t serial, uint64_t instant_ns) const;

  struct Checked {
    TicketFault fault = TicketFault::kNone;
    Ticket ticket;  // what it says; only where there is no fault
  };
  // Whether `text` is a ticket of ours and this claimant's. Its time and its use are the caller's to judge.
  Checked check(std::string_view text, const Claimant& claimant) const;

 private:
  struct MacDelete {
    void operator()(evp_mac_ctx_st* mac) const;
  };
  void sign(std::span<const uint8_t> fields, std::string_view client, uint8_t* out) const;

  // Holds the key. To look the algorithm up and to prepare the key takes several times as long as to sign.
  const std::unique_ptr<evp_mac_ctx_st, MacDelete> mac_;
  const uint64_t epoch_;
};

}  // namespace deepserve::daemon
