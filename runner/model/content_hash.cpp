#include "runner/model/content_hash.h"

#include <bit>
#include <cstring>

namespace deepserve::runner {
namespace {

constexpr size_t kStride = 32;

uint64_t scramble(uint64_t x) {
  x = (x ^ x >> 32) * 0xd6e8feb86659fd93;
  x = (x ^ x >> 32) * 0xd6e8feb86659fd93;
  return x ^ x >> 32;
}

}  // namespace

void ContentHash::mix(const uint8_t* bytes) {
  uint64_t words[4];
  std::memcpy(words, bytes, sizeof words);
  for (int i = 0; i < 4; ++i) lanes_[i] = std::rotl(lanes_[i] ^ words[i], 27) * 0x9e3779b97f4a7c15;
}

void ContentHash::add(std::span<const uint8_t> piece) {
  size_bytes_ += piece.size();
  size_t i = 0;
  for (; i + kStride <= piece.size(); i += kStride) mix(piece.data() + i);
  if (i < piece.size()) {
    uint8_t padded[kStride] = {};
    std::memcpy(padded, piece.data() + i, piece.size() - i);
    mix(padded);
  }
}

uint64_t ContentHash::value() const {
  uint64_t value = scramble(size_bytes_);
  for (const uint64_t lane : lanes_) value = scramble(value ^ lane);
  return value;
}

}  // namespace deepserve::runner
