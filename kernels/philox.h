// Philox4x32-10: a counter-based random generator. The numbers are a pure function of (key, counter), so a
// replay of the same choice draws the same at the same index, whatever was drawn in between, on any device.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 3.3;
// constants and test vectors as in the authors' Random123 library.
#pragma once

#include <cstdint>

#include "kernels/shared_code.h"

namespace deepserve::kernels {

// Turns `counter` [4] into four random words.
DEEPSERVE_SHARED_CODE inline void philox4x32_10(uint32_t (&counter)[4], uint32_t key0, uint32_t key1) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9;  // golden ratio
  constexpr uint32_t kWeyl1 = 0xBB67AE85;  // sqrt(3) - 1
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0], product1 = kMultiplier1 * counter[2];
    counter[0] = static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key0;
    counter[1] = static_cast<uint32_t>(product1);
    counter[2] = static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key1;
    counter[3] = static_cast<uint32_t>(product0);
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
}

// The draw of token `index` of `choice` under `seed`: 53 random bits.
DEEPSERVE_SHARED_CODE inline uint64_t draw_bits(uint64_t seed, uint16_t choice, uint32_t index) {
  uint32_t words[4] = {index, choice, 0, 0};
  philox4x32_10(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  return (static_cast<uint64_t>(words[1]) << 32 | words[0]) >> 11;
}

}  // namespace deepserve::kernels
