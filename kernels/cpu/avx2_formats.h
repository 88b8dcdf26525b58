// Weight formats in AVX2 registers: each decode() gives 32 consecutive weights as 4 vectors, with the same
// bits as dequantize.h. Include rules as avx2_math.h.
//
// `row` is the row's first byte, `column` the first of the 32 weights, a multiple of 32. Formats of single
// elements also have decode_8 and decode_tail (fewer than 8, zeros behind them).
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/avx2_math.h"
#include "kernels/cpu/packed_bits.h"

namespace deepserve::kernels {

static inline uint16_t u16_at(const uint8_t* bytes) {
  uint16_t value;
  memcpy(&value, bytes, sizeof value);
  return value;
}
static inline float half_at(const uint8_t* bytes) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(u16_at(bytes))));
}
static inline __m128i bytes16_at(const uint8_t* bytes) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

// 16 signed bytes to two vectors of floats.
static inline void widen_16(__m128i bytes, __m256& first, __m256& second) {
  first = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  second = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)));
}
static inline void widen_32(__m128i low, __m128i high, __m256 out[4]) {
  widen_16(low, out[0], out[1]);
  widen_16(high, out[2], out[3]);
}
static inline void scale_4(__m256 out[4], float scale) {
  const __m256 factor = _mm256_set1_ps(scale);
  for (int i = 0; i < 4; ++i) out[i] = _mm256_mul_ps(factor, out[i]);
}
static inline void offset_4(__m256 out[4], float offset) {
  const __m256 addend = _mm256_set1_ps(offset);
  for (int i = 0; i < 4; ++i) out[i] = _mm256_add_ps(out[i], addend);
}

struct FormatF32 {
  static constexpr bool kAnyLength = true;
  static inline __m256 decode_8(const uint8_t* row, size_t column) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(row + 4 * column));
  }
  static inline __m256 decode_tail(const uint8_t* row, size_t column, size_t count) {
    return load_tail(reinterpret_cast<const float*>(row + 4 * column), count);
  }
};

struct FormatF16 {
  static constexpr bool kAnyLength = true;
  static inline __m256 decode_8(const uint8_t* row, size_t column) {
    return _mm256_cvtph_ps(bytes16_at(row + 2 * column));
  }
  static inline __m256 decode_tail(const uint8_t* row, size_t column, size_t count) {
    uint8_t padded[16] = {};
    memcpy(padded, row + 2 * column, 2 * count);
    return _mm256_cvtph_ps(bytes16_at(padded));
  }
};

struct FormatBF16 {
  static constexpr bool kAnyLength = true;
  static inline __m256 widen(__m128i bytes) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bytes), 16));
  }
  static inline __m256 decode_8(const uint8_t* row, size_t column) {
    return widen(bytes16_at(row + 2 * column));
  }
  static inline __m256 decode_tail(const uint8_t* row, size_t column, size_t count) {
    uint8_t padded[16] = {};
    memcpy(padded, row + 2 * column, 2 * count);
    return widen(bytes16_at(padded));
  }
};

// The bits of e4m3_to_float, numbers that are none too.
struct FormatF8E4M3 {
  static constexpr bool kAnyLength = true;
  static inline __m256 widen(__m128i bytes) {
    const __m256i codes = _mm256_cvtepu8_epi32(bytes), seven = _mm256_set1_epi32(0x7f);
    const __m256i magnitude = _mm256_and_si256(codes, seven);
    const __m256i sign = _mm256_slli_epi32(_mm256_andnot_si256(seven, codes), 24);
    const __m256 value = _mm256_mul_ps(_mm256_castsi256_ps(_mm256_slli_epi32(magnitude, 20)),
                                       _mm256_castsi256_ps(_mm256_set1_epi32(0x7b800000)));  // 2^120
    const __m256i is_none = _mm256_cmpeq_epi32(magnitude, seven);
    const __m256 none = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
    return _mm256_or_ps(_mm256_blendv_ps(value, none, _mm256_castsi256_ps(is_none)),
                        _mm256_castsi256_ps(sign));
  }
  static inline __m256 decode_8(const uint8_t* row, size_t column) {
    return widen(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + column)));
  }
  static inline __m256 decode_tail(const uint8_t* row, size_t column, size_t count) {
    uint8_t padded[16] = {};
    memcpy(padded, row + column, count);
    return widen(bytes16_at(padded));
  }
};

template <typename Format>
static inline void decode_32(const uint8_t* row, size_t column, __m256 out[4]) {
  if constexpr (Format::kAnyLength) {
    for (size_t i = 0; i < 4; ++i) out[i] = Format::decode_8(row, column + 8 * i);
  } else {
    Format::decode(row, column, out);
  }
}

static inline void split_nibbles(const uint8_t* bytes, __m128i& low, __m128i& high) {
  const __m128i packed = bytes16_at(bytes), mask = _mm_set1_epi8(15);
  low = _mm_and_si128(packed, mask);
  high = _mm_and_si128(_mm_srli_epi16(packed, 4), mask);
}

struct FormatQ4_0 {
  static constexpr bool kAnyLength = false;
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 32 * 18;
    __m128i low, high;
    split_nibbles(block + 2, low, high);
    const __m128i eight = _mm_set1_epi8(8);
    widen_32(_mm_sub_epi8(low, eight), _mm_sub_epi8(high, eight), out);
    scale_4(out, half_at(block));
  }
};

struct FormatQ4_1 {
  static constexpr bool kAnyLength = false;
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 32 * 20;
    __m128i low, high;
    split_nibbles(block + 4, low, high);
    widen_32(low, high, out);
    scale_4(out, half_at(block));
    offset_4(out, half_at(block + 2));
  }
};

// All-ones in each byte whose bit of the 4 bytes at `bits` is clear: elements 0..15, and 16..31.
static inline void clear_bits(const uint8_t* bits, __m128i& low, __m128i& high) {
  int word;
  memcpy(&word, bits, sizeof word);
  const __m128i all = _mm_cvtsi32_si128(word), zero = _mm_setzero_si128();
  const __m128i bit_of_lane = _mm_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
  const __m128i spread_low =
      _mm_shuffle_epi8(all, _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  const __m128i spread_high =
      _mm_shuffle_epi8(all, _mm_setr_epi8(2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3));
  low = _mm_cmpeq_epi8(_mm_and_si128(spread_low, bit_of_lane), zero);
  high = _mm_cmpeq_epi8(_mm_and_si128(spread_high, bit_of_lane), zero);
}

struct FormatQ5_0 {
  static constexpr bool kAnyLength = false;
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 32 * 22;
    __m128i low, high, clear_low, clear_high;
    split_nibbles(block + 6, low, high);
    clear_bits(block + 2, clear_low, clear_high);
    // A clear fifth bit subtracts 16: or 0xf0 into the byte, which as a signed number is q - 16.
    const __m128i minus = _mm_set1_epi8(static_cast<char>(0xf0));
    widen_32(_mm_or_si128(low, _mm_and_si128(clear_low, minus)),
             _mm_or_si128(high, _mm_and_si128(clear_high, minus)), out);
    scale_4(out, half_at(block));
  }
};

struct FormatQ5_1 {
  static constexpr bool kAnyLength = false;
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 32 * 24;
    __m128i low, high, clear_low, clear_high;
    split_nibbles(block + 8, low, high);
    clear_bits(block + 4, clear_low, clear_high);
    const __m128i fifth = _mm_set1_epi8(16);
    widen_32(_mm_or_si128(low, _mm_andnot_si128(clear_low, fifth)),
             _mm_or_si128(high, _mm_andnot_si128(clear_high, fifth)), out);
    scale_4(out, half_at(block));
    offset_4(out, half_at(block + 2));
  }
};

struct FormatQ8_0 {
  static constexpr bool kAnyLength = false;
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 32 * 34;
    widen_32(bytes16_at(block + 2), bytes16_at(block + 18), out);
    scale_4(out, half_at(block));
  }
};

// 16 bytes of nibbles to the 32 levels that they stand for.
static inline void decode_levels(const uint8_t* bytes, __m256 out[4]) {
  const __m128i levels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(kFourBitLevels));
  __m128i low, high;
  split_nibbles(bytes, low, high);
  widen_32(_mm_shuffle_epi8(levels, low), _mm_shuffle_epi8(levels, high), out);
}

struct FormatIQ4NL {
  static constexpr bool kAnyLength = false;
  static inline void decode(const uint8_t* row, size_t column, __m256 out[4]) {
    const uint8_t* block = row + column / 32 * 18;
    decode_levels(block + 2, out);
    scale_4(out, half_at(block));
  }
};

}  // namespace deepserve::kernels
