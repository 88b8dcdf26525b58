#include "daemon/config/api_key.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <charconv>

namespace deepserve::daemon {

KeyDigest digest_of_key(std::string_view key) {
  KeyDigest digest;
  static_assert(sizeof digest == SHA256_DIGEST_LENGTH);
  ::SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  return digest;
}

std::optional<KeyDigest> parse_key_digest(std::string_view text) {
  KeyDigest digest;
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (size_t i = 0; i < digest.size(); ++i) {
    const char* first = text.data() + 2 * i;
    const auto [end, problem] = std::from_chars(first, first + 2, digest[i], 16);
    if (problem != std::errc() || end != first + 2) return std::nullopt;
  }
  return digest;
}

bool same_digest(const KeyDigest& left, const KeyDigest& right) {
  return ::CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

std::string_view bearer_token(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() <= kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char c = authorization[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != kScheme[i]) return {};
  }
  authorization.remove_prefix(kScheme.size());
  const size_t first = authorization.find_first_not_of(' ');
  return first == std::string_view::npos ? std::string_view() : authorization.substr(first);
}

}  // namespace deepserve::daemon
