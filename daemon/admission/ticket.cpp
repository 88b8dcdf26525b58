#include "daemon/admission/ticket.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr uint8_t kVersion = 1;

// What each character stands for; kNoDigit: nothing.
constexpr uint8_t kNoDigit = 255;
constexpr std::array<uint8_t, 256> kDigits = [] {
  std::array<uint8_t, 256> digits{};
  for (auto& digit : digits) digit = kNoDigit;
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<uint8_t>(kAlphabet[i])] = static_cast<uint8_t>(i);
  }
  return digits;
}();

// version, class, model; epoch, serial, instant, client, body; bytes of the body; signature.
constexpr size_t kSigned = 4 + 5 * 8 + 8;
constexpr size_t kSignature = 20;
using Bytes = std::array<uint8_t, kSigned + kSignature>;
static_assert(sizeof(Bytes) % 3 == 0 && sizeof(Bytes) / 3 * 4 == TicketOffice::kTextBytes);

// Little-endian numbers into and out of fixed places.
class Cursor {
 public:
  explicit Cursor(uint8_t* at) : at_(at) {}
  void put(uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) *at_++ = static_cast<uint8_t>(value >> (8 * i));
  }
  uint64_t take(size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value |= uint64_t{*at_++} << (8 * i);
    return value;
  }

 private:
  uint8_t* at_;
};

// The client's whole name is signed: two names of one hash are still two clients.
void sign(const TicketKey& key, std::span<const uint8_t> fields, std::string_view client, uint8_t* out) {
  constexpr size_t kClientMax = 512;
  std::array<uint8_t, kSigned + kClientMax> text;
  std::copy(fields.begin(), fields.end(), text.begin());
  const size_t taken = std::min(client.size(), kClientMax);
  std::copy_n(client.begin(), taken, text.begin() + kSigned);
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
  unsigned bytes = 0;
  CHECK(::HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), text.data(), kSigned + taken,
               digest.data(), &bytes) != nullptr);
  std::copy_n(digest.begin(), kSignature, out);
}

std::string text_of(const Bytes& bytes) {
  std::string text;
  text.reserve(TicketOffice::kTextBytes);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const uint32_t three = uint32_t{bytes[i]} << 16 | uint32_t{bytes[i + 1]} << 8 | bytes[i + 2];
    for (int shift = 18; shift >= 0; shift -= 6) text += kAlphabet[three >> shift & 63];
  }
  return text;
}

// False for anything that text_of() does not write.
bool bytes_of(std::string_view text, Bytes& bytes) {
  if (text.size() != TicketOffice::kTextBytes) return false;
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t three = 0;
    for (size_t k = 0; k < 4; ++k) {
      const uint8_t digit = kDigits[static_cast<uint8_t>(text[i + k])];
      if (digit == kNoDigit) return false;
      three = three << 6 | digit;
    }
    for (size_t k = 0; k < 3; ++k) bytes[i / 4 * 3 + k] = static_cast<uint8_t>(three >> (16 - 8 * k));
  }
  return true;
}

}  // namespace

uint64_t short_hash(std::string_view text) {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
  ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return std::max<uint64_t>(1, Cursor(digest.data()).take(8));
}

std::string TicketOffice::issue(const Claimant& claimant, uint64_t serial, uint64_t instant_ns) const {
  Bytes bytes;
  Cursor cursor(bytes.data());
  cursor.put(kVersion, 1);
  cursor.put(static_cast<uint64_t>(claimant.service_class), 1);
  cursor.put(claimant.model, 2);
  cursor.put(epoch_, 8);
  cursor.put(serial, 8);
  cursor.put(instant_ns, 8);
  cursor.put(short_hash(claimant.client), 8);
  cursor.put(claimant.body_hash, 8);
  cursor.put(claimant.body_bytes, 8);
  sign(key_, std::span(bytes).first<kSigned>(), claimant.client, bytes.data() + kSigned);
  return text_of(bytes);
}

TicketOffice::Checked TicketOffice::check(std::string_view text, const Claimant& claimant) const {
  Bytes bytes;
  if (!bytes_of(text, bytes) || bytes[0] != kVersion) return {TicketFault::kForged, {}};
  Checked checked;
  Cursor cursor(bytes.data() + 1);
  auto& ticket = checked.ticket;
  ticket.service_class = static_cast<ipc::Class>(cursor.take(1));
  ticket.model = static_cast<uint32_t>(cursor.take(2));
  const uint64_t epoch = cursor.take(8);
  ticket.serial = cursor.take(8);
  ticket.instant_ns = cursor.take(8);
  ticket.client_hash = cursor.take(8);
  ticket.body_hash = cursor.take(8);
  ticket.body_bytes = cursor.take(8);
  // Without the name that it was made for, nothing can be said of its signature.
  if (ticket.client_hash != short_hash(claimant.client)) return {TicketFault::kForeign, {}};
  std::array<uint8_t, kSignature> expected;
  sign(key_, std::span(bytes).first<kSigned>(), claimant.client, expected.data());
  if (::CRYPTO_memcmp(expected.data(), bytes.data() + kSigned, kSignature) != 0) {
    return {TicketFault::kForged, {}};
  }
  if (epoch != epoch_) return {TicketFault::kExpired, {}};
  const bool other_body = ticket.body_hash != 0 && claimant.body_hash != 0
                              ? ticket.body_hash != claimant.body_hash
                              : claimant.body_bytes > ticket.body_bytes;
  if (ticket.model != claimant.model || ticket.service_class != claimant.service_class || other_body) {
    return {TicketFault::kForeign, {}};
  }
  return checked;
}

}  // namespace deepserve::daemon
