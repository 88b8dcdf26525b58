// Tables and packed scales that the scalar and the vector code read alike. Everything is static and without
// help from headers, for the reason that avx2_math.h gives.
#pragma once

#include <cstdint>

namespace deepserve::kernels {

// What the 4-bit numbers of IQ4_NL and IQ4_XS stand for.
static constexpr int8_t kFourBitLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                              1,    13,   25,  38,  53,  69,  89,  113};

struct ScaleAndMinimum {
  float scale;    // 0..63
  float minimum;  // 0..63
};

// Of group `group` (0..7) out of the 12 packed bytes of a Q4_K or Q5_K block.
static inline ScaleAndMinimum six_bit_scale_and_minimum(const uint8_t* packed, int group) {
  int scale, minimum;
  if (group < 4) {
    scale = packed[group] & 63;
    minimum = packed[group + 4] & 63;
  } else {
    scale = (packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4;
    minimum = (packed[group + 4] >> 4) | (packed[group] >> 6) << 4;
  }
  return {static_cast<float>(scale), static_cast<float>(minimum)};
}

// -32..31: number `index` (0..15) out of the 12 packed bytes of a Q3_K block.
static inline float q3_k_scale(const uint8_t* packed, int index) {
  const int low = packed[index % 8] >> (index / 8 * 4) & 15;
  const int high = packed[8 + index % 4] >> (index / 4 * 2) & 3;
  return static_cast<float>((low | high << 4) - 32);
}

// -32..31: of group `group` (0..7) of an IQ4_XS block, which begins at `block`.
static inline float iq4_xs_scale(const uint8_t* block, int group) {
  const int high = block[2 + group / 4] >> (group % 4 * 2) & 3;
  const int low = block[4 + group / 2] >> (group % 2 * 4) & 15;
  return static_cast<float>((low | high << 4) - 32);
}

}  // namespace deepserve::kernels
