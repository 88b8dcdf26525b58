// Blocks of packed matrices (packed_layout.h) in AVX-512 registers. Only for translation units compiled with
// AVX-512 F, BW, VL, DQ and VNNI; everything here is static, for the reason that avx2_math.h gives.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/packed_layout.h"

// Loops over tiles must vanish, or the compiler keeps their sums in memory.
#define UNROLLED _Pragma("GCC unroll 16")

namespace deepserve::kernels {

static constexpr bool has_minimum(ScaleKind scales) {
  return scales == ScaleKind::kHalfAndMinimum || scales == ScaleKind::kSuperAndMinimum;
}
// Parts of a block that have scales of their own.
static constexpr int parts_of_block(ScaleKind scales) {
  return scales == ScaleKind::kSuperOf16 ? 2 : 1;
}
// A code stands for code - 2^offset_shift where there is no minimum.
static constexpr int offset_shift(int bits) {
  return bits - 1;
}

static inline __m512i vector_at(const uint8_t* bytes) {
  return _mm512_load_si512(bytes);
}
// a | (b & mask)
static inline __m512i or_and(__m512i a, __m512i b, __m512i mask) {
  return _mm512_ternarylogic_epi32(a, b, mask, 0xf8);
}

// The 8 vectors of a block, a code a byte.
template <int kBits>
static inline void unpack_block(const uint8_t* block, __m512i out[8]) {
  if constexpr (kBits == 8) {
    UNROLLED for (int j = 0; j < 8; ++j) out[j] = vector_at(block + 64 * j);
    return;
  }
  const __m512i low = _mm512_set1_epi8(15);
  UNROLLED for (int j = 0; j < 4; ++j) {
    const __m512i nibbles = vector_at(block + 64 * j);
    out[j] = _mm512_and_si512(nibbles, low);
    out[j + 4] = _mm512_and_si512(_mm512_srli_epi16(nibbles, 4), low);
  }
  if constexpr (kBits == 5) {
    const __m512i plane = vector_at(block + kNibblePlane), fifth = _mm512_set1_epi8(16);
    UNROLLED for (int j = 0; j < 4; ++j) out[j] = or_and(out[j], _mm512_slli_epi16(plane, 4 - j), fifth);
    UNROLLED for (int j = 4; j < 8; ++j) out[j] = or_and(out[j], _mm512_srli_epi16(plane, j - 4), fifth);
  }
  if constexpr (kBits == 6) {
    const __m512i upper = _mm512_set1_epi8(48);
    UNROLLED for (int p = 0; p < 2; ++p) {
      const __m512i plane = vector_at(block + kNibblePlane + 64 * p);
      out[4 * p] = or_and(out[4 * p], _mm512_slli_epi16(plane, 4), upper);
      out[4 * p + 1] = or_and(out[4 * p + 1], _mm512_slli_epi16(plane, 2), upper);
      out[4 * p + 2] = or_and(out[4 * p + 2], plane, upper);
      out[4 * p + 3] = or_and(out[4 * p + 3], _mm512_srli_epi16(plane, 2), upper);
    }
  }
}

static inline __m512 halves_at(const uint8_t* bytes) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(bytes)));
}
static inline __m128i bytes_of_group(const uint8_t* bytes) {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
}

// The scales of one tile, which begins at `tile`.
template <ScaleKind kScales>
struct TileScales {
  const uint8_t* tile;
  __m512 super_scale, super_minimum;  // of K types
};

// Block 0 of what is returned is block `first` of the tile.
template <ScaleKind kScales>
static inline TileScales<kScales> tile_scales(const uint8_t* tile, size_t first) {
  constexpr size_t kBlockScales = kScales == ScaleKind::kHalf              ? kHalvesOfGroup
                                  : kScales == ScaleKind::kHalfAndMinimum  ? 2 * kHalvesOfGroup
                                  : kScales == ScaleKind::kSuperAndMinimum ? kRowsOfGroup
                                                                           : 2 * kRowsOfGroup;
  TileScales<kScales> scales;
  scales.tile = tile + first * kBlockScales;
  if constexpr (kScales == ScaleKind::kSuperAndMinimum || kScales == ScaleKind::kSuperOf16)
    scales.super_scale = halves_at(tile);
  if constexpr (kScales == ScaleKind::kSuperAndMinimum)
    scales.super_minimum = halves_at(tile + kHalvesOfGroup);
  return scales;
}

// Of part `part` of block `block` of the tile, one per row.
template <ScaleKind kScales>
static inline __m512 scale_of(const TileScales<kScales>& scales, size_t block, int part) {
  const uint8_t* const bytes = scales.tile + 2 * kHalvesOfGroup;
  if constexpr (kScales == ScaleKind::kHalf) return halves_at(scales.tile + block * kHalvesOfGroup);
  if constexpr (kScales == ScaleKind::kHalfAndMinimum)
    return halves_at(scales.tile + 2 * block * kHalvesOfGroup);
  if constexpr (kScales == ScaleKind::kSuperAndMinimum) {
    const __m512i factor = _mm512_cvtepu8_epi32(bytes_of_group(bytes + block * kRowsOfGroup));
    return _mm512_mul_ps(scales.super_scale, _mm512_cvtepi32_ps(factor));
  }
  const __m512i factor =
      _mm512_cvtepi8_epi32(bytes_of_group(bytes + (2 * block + static_cast<size_t>(part)) * kRowsOfGroup));
  return _mm512_mul_ps(scales.super_scale, _mm512_cvtepi32_ps(factor));
}

// The minimum of a block, one per row, as it is added to the product.
template <ScaleKind kScales>
static inline __m512 minimum_of(const TileScales<kScales>& scales, size_t block) {
  if constexpr (kScales == ScaleKind::kHalfAndMinimum)
    return halves_at(scales.tile + (2 * block + 1) * kHalvesOfGroup);
  const uint8_t* bytes = scales.tile + 2 * kHalvesOfGroup + (kTileBlocks + block) * kRowsOfGroup;
  const __m512i factor = _mm512_cvtepu8_epi32(bytes_of_group(bytes));
  const __m512 product = _mm512_mul_ps(scales.super_minimum, _mm512_cvtepi32_ps(factor));
  return _mm512_xor_ps(product, _mm512_set1_ps(-0.0f));
}

}  // namespace deepserve::kernels
