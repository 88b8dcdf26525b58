// A 64-bit fingerprint of a large file, as fast as memory: tells two sets of weights apart (numerics_id).
//
// Not cryptographic: it protects against mistakes, not against somebody who makes a collision on purpose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace deepserve::runner {

class ContentHash {
 public:
  // Another seed gives another fingerprint of the same bytes: that of what came before them, in a chain.
  explicit ContentHash(uint64_t seed = 0) { lanes_[0] ^= seed; }

  // Pieces must be multiples of 32 bytes, all but the last.
  void add(std::span<const uint8_t> piece);
  uint64_t value() const;

 private:
  void mix(const uint8_t* bytes);

  uint64_t lanes_[4] = {0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0xd6e8feb86659fd93};
  uint64_t size_bytes_ = 0;
};

}  // namespace deepserve::runner
