// The formats of 256 elements a block in AVX2 registers, in the manner of avx2_formats.h: `column` picks one
// of a block's eight groups of 32.
#pragma once

#include "kernels/cpu/avx2_formats.h"

namespace deepserve::kernels {

static inline int group_of(size_t column) {
  return static_cast<int>(column / 32 % 8);
}
static inline void scale_2(__m256 out[2], float scale) {
  const __m256 factor = _mm256_set1_ps(scale);
  for (int i = 0; i < 2; ++i) out[i] = _mm256_mul_ps(factor, out[i]);
}
// (byte >> shift) & mask of 16 bytes; `mask` has none of the upper `shift` bits.
static inline __m128i bits_of_16(const uint8_t* bytes, int shift, int mask) {
  return _mm_and_si128(_mm_srl_epi16(bytes16_at(bytes), _mm_cvtsi32_si128(shift)),
                       _mm_set1_epi8(static_cast<char>(mask)));
}

struct FormatQ2K {
  static constexpr bool kAnyLength = false;
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 256 * 84;
    const int group = group_of(column), shift = group % 4 * 2;
    const uint8_t* pairs = block + 16 + group / 4 * 32;
    widen_32(bits_of_16(pairs, shift, 3), bits_of_16(pairs + 16, shift, 3), out);
    const float scale_of_scales = half_at(block + 80), scale_of_minima = half_at(block + 82);
    for (int i = 0; i < 2; ++i) {
      const uint8_t packed = block[group * 2 + i];
      scale_2(out + 2 * i, scale_of_scales * static_cast<float>(packed & 15));
      const __m256 minimum = _mm256_set1_ps(scale_of_minima * static_cast<float>(packed >> 4));
      out[2 * i] = _mm256_sub_ps(out[2 * i], minimum);
      out[2 * i + 1] = _mm256_sub_ps(out[2 * i + 1], minimum);
    }
  }
};

struct FormatQ3K {
  static constexpr bool kAnyLength = false;
  static inline __m128i three_bits(const uint8_t* pairs, int shift, const uint8_t* high, int bit) {
    const __m128i third = _mm_slli_epi16(bits_of_16(high, bit, 1), 2);
    return _mm_sub_epi8(_mm_or_si128(bits_of_16(pairs, shift, 3), third), _mm_set1_epi8(4));
  }
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 256 * 110;
    const int group = group_of(column), shift = group % 4 * 2;
    const uint8_t* pairs = block + 32 + group / 4 * 32;
    widen_32(three_bits(pairs, shift, block, group), three_bits(pairs + 16, shift, block + 16, group), out);
    const float scale_of_scales = half_at(block + 108);
    for (int i = 0; i < 2; ++i) {
      scale_2(out + 2 * i, scale_of_scales * q3_k_scale(block + 96, group * 2 + i));
    }
  }
};

struct FormatQ4K {
  static constexpr bool kAnyLength = false;
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 256 * 144;
    const int group = group_of(column), shift = group % 2 * 4;
    const uint8_t* nibbles = block + 16 + group / 2 * 32;
    const ScaleAndMinimum packed = six_bit_scale_and_minimum(block + 4, group);
    widen_32(bits_of_16(nibbles, shift, 15), bits_of_16(nibbles + 16, shift, 15), out);
    scale_4(out, half_at(block) * packed.scale);
    offset_4(out, -(half_at(block + 2) * packed.minimum));
  }
};

struct FormatQ5K {
  static constexpr bool kAnyLength = false;
  static inline __m128i five_bits(const uint8_t* nibbles, int shift, const uint8_t* high, int bit) {
    return _mm_or_si128(bits_of_16(nibbles, shift, 15), _mm_slli_epi16(bits_of_16(high, bit, 1), 4));
  }
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 256 * 176;
    const int group = group_of(column), shift = group % 2 * 4;
    const uint8_t* high = block + 16;
    const uint8_t* nibbles = block + 48 + group / 2 * 32;
    const ScaleAndMinimum packed = six_bit_scale_and_minimum(block + 4, group);
    widen_32(five_bits(nibbles, shift, high, group), five_bits(nibbles + 16, shift, high + 16, group), out);
    scale_4(out, half_at(block) * packed.scale);
    offset_4(out, -(half_at(block + 2) * packed.minimum));
  }
};

struct FormatQ6K {
  static constexpr bool kAnyLength = false;
  static inline __m128i six_bits(const uint8_t* low, int low_shift, const uint8_t* high, int high_shift) {
    const __m128i upper = _mm_slli_epi16(bits_of_16(high, high_shift, 3), 4);
    return _mm_sub_epi8(_mm_or_si128(bits_of_16(low, low_shift, 15), upper), _mm_set1_epi8(32));
  }
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 256 * 210;
    const int group = group_of(column), half = group / 4, quarter = group % 4;
    const uint8_t* low = block + half * 64 + quarter % 2 * 32;
    const uint8_t* high = block + 128 + half * 32;
    const int low_shift = quarter / 2 * 4, high_shift = quarter * 2;
    widen_32(six_bits(low, low_shift, high, high_shift), six_bits(low + 16, low_shift, high + 16, high_shift),
             out);
    const float scale_of_scales = half_at(block + 208);
    for (int i = 0; i < 2; ++i) {
      const auto scale = static_cast<int8_t>(block[192 + group * 2 + i]);
      scale_2(out + 2 * i, scale_of_scales * static_cast<float>(scale));
    }
  }
};

struct FormatIQ4XS {
  static constexpr bool kAnyLength = false;
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 256 * 136;
    const int group = group_of(column);
    decode_levels(block + 8 + group * 16, out);
    scale_4(out, half_at(block) * iq4_xs_scale(block, group));
  }
};

}  // namespace deepserve::kernels
