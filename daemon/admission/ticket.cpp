#include "daemon/admission/ticket.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <memory>
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

struct DigestDelete {
  void operator()(EVP_MD* digest) const { ::EVP_MD_free(digest); }
  void operator()(EVP_MD_CTX* context) const { ::EVP_MD_CTX_free(context); }
};

// SHA-256, looked up once: that takes longer than the digest of a short text.
class Sha256 {
 public:
  Sha256() : algorithm_(::EVP_MD_fetch(nullptr, "SHA256", nullptr)), context_(::EVP_MD_CTX_new()) {
    CHECK(algorithm_ != nullptr && context_ != nullptr);
  }
  std::array<uint8_t, SHA256_DIGEST_LENGTH> of(std::string_view text) {
    std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
    CHECK(::EVP_DigestInit_ex(context_.get(), algorithm_.get(), nullptr) == 1);
    CHECK(::EVP_DigestUpdate(context_.get(), text.data(), text.size()) == 1);
    CHECK(::EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
    return digest;
  }

 private:
  std::unique_ptr<EVP_MD, DigestDelete> algorithm_;
  std::unique_ptr<EVP_MD_CTX, DigestDelete> context_;
};

EVP_MAC_CTX* new_mac(const TicketKey& key) {
  EVP_MAC* algorithm = ::EVP_MAC_fetch(nullptr, OSSL_MAC_NAME_HMAC, nullptr);
  CHECK(algorithm != nullptr);
  EVP_MAC_CTX* mac = ::EVP_MAC_CTX_new(algorithm);
  ::EVP_MAC_free(algorithm);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {::OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                   ::OSSL_PARAM_construct_end()};
  CHECK(mac != nullptr && ::EVP_MAC_init(mac, key.data(), key.size(), parameters) == 1);
  return mac;
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
  thread_local Sha256 sha256;
  auto digest = sha256.of(text);
  return std::max<uint64_t>(1, Cursor(digest.data()).take(8));
}

TicketOffice::TicketOffice(const TicketKey& key, uint64_t epoch) : mac_(new_mac(key)), epoch_(epoch) {}

void TicketOffice::MacDelete::operator()(EVP_MAC_CTX* mac) const {
  ::EVP_MAC_CTX_free(mac);
}

// The client's whole name is signed: two names of one hash are still two clients.
void TicketOffice::sign(std::span<const uint8_t> fields, std::string_view client, uint8_t* out) const {
  constexpr size_t kClientMax = 512;
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
  size_t bytes = 0;
  const auto* name = reinterpret_cast<const uint8_t*>(client.data());
  CHECK(::EVP_MAC_init(mac_.get(), nullptr, 0, nullptr) == 1);
  CHECK(::EVP_MAC_update(mac_.get(), fields.data(), fields.size()) == 1);
  CHECK(::EVP_MAC_update(mac_.get(), name, std::min(client.size(), kClientMax)) == 1);
  CHECK(::EVP_MAC_final(mac_.get(), digest.data(), &bytes, digest.size()) == 1);
  std::copy_n(digest.begin(), kSignature, out);
}

uint64_t Claimant::hash_of_client() const {
  return client_hash != 0 ? client_hash : short_hash(client);
}

std::string TicketOffice::issue(const Claimant& claimant, uint64_t serial, uint64_t instant_ns) const {
  Bytes bytes;
  Cursor cursor(bytes.data());
  cursor.put(kVersion, 1);
  cursor.put(claimant.any_class ? Ticket::kAnyClass : static_cast<uint8_t>(claimant.service_class), 1);
  cursor.put(claimant.any_model ? Ticket::kAnyModel : claimant.model, 2);
  cursor.put(epoch_, 8);
  cursor.put(serial, 8);
  cursor.put(instant_ns, 8);
  cursor.put(claimant.hash_of_client(), 8);
  cursor.put(claimant.body_hash, 8);
  cursor.put(claimant.body_bytes, 8);
  sign(std::span(bytes).first<kSigned>(), claimant.client, bytes.data() + kSigned);
  return text_of(bytes);
}

TicketOffice::Checked TicketOffice::check(std::string_view text, const Claimant& claimant) const {
  Bytes bytes;
  if (!bytes_of(text, bytes) || bytes[0] != kVersion) return {TicketFault::kForged, {}};
  Checked checked;
  Cursor cursor(bytes.data() + 1);
  auto& ticket = checked.ticket;
  ticket.service_class = static_cast<uint8_t>(cursor.take(1));
  ticket.model = static_cast<uint32_t>(cursor.take(2));
  const uint64_t epoch = cursor.take(8);
  ticket.serial = cursor.take(8);
  ticket.instant_ns = cursor.take(8);
  ticket.client_hash = cursor.take(8);
  ticket.body_hash = cursor.take(8);
  ticket.body_bytes = cursor.take(8);
  // Without the name that it was made for, nothing can be said of its signature.
  if (ticket.client_hash != claimant.hash_of_client()) return {TicketFault::kForeign, {}};
  std::array<uint8_t, kSignature> expected;
  sign(std::span(bytes).first<kSigned>(), claimant.client, expected.data());
  if (::CRYPTO_memcmp(expected.data(), bytes.data() + kSigned, kSignature) != 0) {
    return {TicketFault::kForged, {}};
  }
  if (epoch != epoch_) return {TicketFault::kExpired, {}};
  const bool other_body = ticket.body_hash != 0 && claimant.body_hash != 0
                              ? ticket.body_hash != claimant.body_hash
                              : claimant.body_bytes > ticket.body_bytes;
  const bool any_model = claimant.any_model || ticket.model == Ticket::kAnyModel;
  const bool any_class = claimant.any_class || ticket.service_class == Ticket::kAnyClass;
  const bool other_model = !any_model && ticket.model != claimant.model;
  const bool other_class = !any_class && ticket.service_class != static_cast<uint8_t>(claimant.service_class);
  if (other_model || other_class || other_body) {
    return {TicketFault::kForeign, {}};
  }
  return checked;
}

}  // namespace deepserve::daemon
