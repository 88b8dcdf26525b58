// 8-bit floats to 32 bits, exactly: the reference that vector code and GPUs are held against.
#pragma once

#include <bit>
#include <cstdint>

namespace deepserve::kernels {

inline constexpr float kE4M3Max = 448;

// E4M3 of "FP8 Formats for Deep Learning" (Micikevicius et al., arXiv:2209.05433): one sign bit, 4 bits of
// exponent (bias 7), 3 of mantissa, subnormals; no infinity, and 0x7f and 0xff are no numbers.
static inline float e4m3_to_float(uint8_t code) {
  const uint32_t sign = static_cast<uint32_t>(code & 0x80) << 24;
  const uint32_t magnitude = code & 0x7f;
  if (magnitude == 0x7f) return std::bit_cast<float>(sign | 0x7fc00000);
  // Its bits as those of a binary32 whose exponent has a bias of 127.
  return std::bit_cast<float>(sign | magnitude << 20) * 0x1p120f;
}

}  // namespace deepserve::kernels
