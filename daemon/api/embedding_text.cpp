#include "daemon/api/embedding_text.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>

namespace deepserve::daemon {
namespace {

static_assert(std::endian::native == std::endian::little);

void append_base64(std::string& out, std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) {
      group = group << 8 | (at + i < bytes.size() ? std::to_integer<uint32_t>(bytes[at + i]) : 0);
    }
    const size_t digits = std::min<size_t>(bytes.size() - at, 3) + 1;
    for (size_t i = 0; i < 4; ++i) out += i < digits ? kDigits[group >> (18 - 6 * i) & 63] : '=';
  }
}

}  // namespace

void shorten_embedding(std::vector<float>& values, size_t dimensions) {
  if (dimensions == 0 || dimensions >= values.size()) return;
  values.resize(dimensions);
  double square_sum = 0;
  for (const float value : values) square_sum += static_cast<double>(value) * static_cast<double>(value);
  if (square_sum == 0) return;
  const double scale = 1 / std::sqrt(square_sum);
  for (float& value : values) value = static_cast<float>(static_cast<double>(value) * scale);
}

void append_embedding(std::string& out, std::span<const float> values, bool base64) {
  if (base64) {
    out += '"';
    append_base64(out, std::as_bytes(values));
    out += '"';
    return;
  }
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i != 0) out += ',';
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, values[i]).ptr;
    out.append(text, static_cast<size_t>(end - text));
  }
  out += ']';
}

}  // namespace deepserve::daemon
