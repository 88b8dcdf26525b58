// API keys: the configuration holds their SHA-256 alone, so that who reads it cannot use them.
//
// A key is a long random string (`openssl rand -hex 32`), not a password: one round of SHA-256 is enough for
// what nobody can guess.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace deepserve::daemon {

using KeyDigest = std::array<uint8_t, 32>;

// Of the key's bytes as they are sent.
KeyDigest digest_of_key(std::string_view key);

// 64 hexadecimal digits, as sha256sum prints them; nothing when `text` is anything else.
std::optional<KeyDigest> parse_key_digest(std::string_view text);

// How long it takes does not tell where they differ.
bool same_digest(const KeyDigest& left, const KeyDigest& right);

// The token of "Bearer TOKEN" (RFC 6750 section 2.1; the scheme in any case). Empty when it is no such value.
std::string_view bearer_token(std::string_view authorization);

}  // namespace deepserve::daemon
