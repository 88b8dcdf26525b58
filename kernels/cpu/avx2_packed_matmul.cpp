// Packed matrices on CPUs with AVX2, FMA and F16C: half a group, 8 rows, at a time. Includes no header with
// inline functions of external linkage (see avx2_math.h).
#include <immintrin.h>

#include <cstring>

#include "kernels/cpu/avx2_math.h"
#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/packed_matmul.h"

#define UNROLLED _Pragma("GCC unroll 16")

namespace deepserve::kernels {
namespace {

constexpr size_t kHalfRows = kRowsOfGroup / 2;
constexpr int kTokensAtOnce = 4;

constexpr bool has_minimum(ScaleKind scales) {
  return scales == ScaleKind::kHalfAndMinimum || scales == ScaleKind::kSuperAndMinimum;
}

inline __m256i load_32(const uint8_t* bytes) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(bytes));
}
inline __m256i nibbles_of(__m256i bytes) {
  return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}
inline __m256i or_and(__m256i a, __m256i b, __m256i mask) {
  return _mm256_or_si256(a, _mm256_and_si256(b, mask));
}

// The 8 vectors of 8 rows of a block, a code a byte; `block` is the block's first byte or, for the upper
// rows, 32 bytes behind it. 8-bit codes become signed.
template <int kBits>
inline void unpack_rows(const uint8_t* block, __m256i out[8]) {
  if constexpr (kBits == 8) {
    const __m256i sign = _mm256_set1_epi8(static_cast<char>(0x80));
    UNROLLED for (int j = 0; j < 8; ++j) out[j] = _mm256_xor_si256(load_32(block + 64 * j), sign);
    return;
  }
  UNROLLED for (int j = 0; j < 4; ++j) {
    const __m256i both = load_32(block + 64 * j);
    out[j] = nibbles_of(both);
    out[j + 4] = nibbles_of(_mm256_srli_epi16(both, 4));
  }
  if constexpr (kBits == 5) {
    const __m256i plane = load_32(block + kNibblePlane), fifth = _mm256_set1_epi8(16);
    UNROLLED for (int j = 0; j < 4; ++j) out[j] = or_and(out[j], _mm256_slli_epi16(plane, 4 - j), fifth);
    UNROLLED for (int j = 4; j < 8; ++j) out[j] = or_and(out[j], _mm256_srli_epi16(plane, j - 4), fifth);
  }
  if constexpr (kBits == 6) {
    const __m256i upper = _mm256_set1_epi8(48);
    UNROLLED for (int p = 0; p < 2; ++p) {
      const __m256i plane = load_32(block + kNibblePlane + 64 * p);
      out[4 * p] = or_and(out[4 * p], _mm256_slli_epi16(plane, 4), upper);
      out[4 * p + 1] = or_and(out[4 * p + 1], _mm256_slli_epi16(plane, 2), upper);
      out[4 * p + 2] = or_and(out[4 * p + 2], plane, upper);
      out[4 * p + 3] = or_and(out[4 * p + 3], _mm256_srli_epi16(plane, 2), upper);
    }
  }
}

inline __m256i broadcast_4(const int8_t* codes) {
  int word;
  memcpy(&word, codes, sizeof word);
  return _mm256_set1_epi32(word);
}

// Products of vectors [begin, end) with the codes, summed per row. Sums of two products fit 16 bits: of 8-bit
// codes at most 128 * 127 * 2 once signs are moved to the inputs; of kRun vectors of shorter codes too.
template <int kBits>
inline __m256i rows_dot(const __m256i weights[8], int begin, int end, const int8_t* codes) {
  constexpr int kRun = kBits == 8 ? 1 : kBits == 6 ? 2 : 4;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i total = _mm256_setzero_si256();
  UNROLLED for (int j = begin; j < end; j += kRun) {
    __m256i pairs = _mm256_setzero_si256();
    UNROLLED for (int i = j; i < j + kRun; ++i) {
      const __m256i x = broadcast_4(codes + 4 * i);
      const __m256i products =
          kBits == 8 ? _mm256_maddubs_epi16(_mm256_abs_epi8(weights[i]), _mm256_sign_epi8(x, weights[i]))
                     : _mm256_maddubs_epi16(weights[i], x);
      pairs = _mm256_add_epi16(pairs, products);
    }
    total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, ones));
  }
  return total;
}

inline __m256 halves_at(const uint8_t* bytes) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
}
inline __m128i bytes_8(const uint8_t* bytes) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
}

// Of 8 rows from `row` on, of part `part` (0 or 1, kSuperOf16) of a block.
template <ScaleKind kScales>
inline __m256 scale_of(const uint8_t* tile, size_t block, size_t part, size_t row) {
  const uint8_t* const halves = tile + 2 * row;
  const uint8_t* const bytes = tile + 2 * kHalvesOfGroup + row;
  if constexpr (kScales == ScaleKind::kHalf) return halves_at(halves + block * kHalvesOfGroup);
  if constexpr (kScales == ScaleKind::kHalfAndMinimum) return halves_at(halves + 2 * block * kHalvesOfGroup);
  const __m256i factor = kScales == ScaleKind::kSuperAndMinimum
                             ? _mm256_cvtepu8_epi32(bytes_8(bytes + block * kRowsOfGroup))
                             : _mm256_cvtepi8_epi32(bytes_8(bytes + (2 * block + part) * kRowsOfGroup));
  return _mm256_mul_ps(halves_at(halves), _mm256_cvtepi32_ps(factor));
}

template <ScaleKind kScales>
inline __m256 minimum_of(const uint8_t* tile, size_t block, size_t row) {
  if constexpr (kScales == ScaleKind::kHalfAndMinimum) {
    return halves_at(tile + (2 * block + 1) * kHalvesOfGroup + 2 * row);
  }
  const uint8_t* bytes = tile + 2 * kHalvesOfGroup + (kTileBlocks + block) * kRowsOfGroup + row;
  const __m256 product = _mm256_mul_ps(halves_at(tile + kHalvesOfGroup + 2 * row),
                                       _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes_8(bytes))));
  return _mm256_xor_ps(product, _mm256_set1_ps(-0.0f));
}

// Minus the codes' sum times the weights' offset: what signed 8-bit codes and minima do without.
template <int kBits, ScaleKind kScales>
inline __m256i correction(const InputBlock& x, int part) {
  if (kBits == 8 || has_minimum(kScales)) return _mm256_setzero_si256();
  const int sum = kScales != ScaleKind::kSuperOf16 ? x.negative_sum
                  : part == 0                      ? x.negative_first_half
                                                   : x.negative_sum - x.negative_first_half;
  return _mm256_slli_epi32(_mm256_set1_epi32(sum), kBits - 1);
}

// One block of 8 rows from `row` on against kTokens inputs, `stride` blocks apart.
template <int kBits, ScaleKind kScales, int kTokens>
inline void add_block(const uint8_t* tile, const uint8_t* codes, size_t block, size_t row,
                      const InputBlock* inputs, size_t stride, __m256 sums[kTokens]) {
  constexpr int kParts = kScales == ScaleKind::kSuperOf16 ? 2 : 1, kVectors = 8 / kParts;
  __m256i weights[8];
  unpack_rows<kBits>(codes + 4 * row, weights);
  UNROLLED for (int part = 0; part < kParts; ++part) {
    const __m256 scale = scale_of<kScales>(tile, block, static_cast<size_t>(part), row);
    UNROLLED for (int t = 0; t < kTokens; ++t) {
      const InputBlock& x = inputs[static_cast<size_t>(t) * stride];
      const __m256i dot =
          _mm256_add_epi32(rows_dot<kBits>(weights, part * kVectors, (part + 1) * kVectors, x.codes),
                           correction<kBits, kScales>(x, part));
      const __m256 factor = _mm256_mul_ps(scale, _mm256_set1_ps(x.scale));
      sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), factor, sums[t]);
    }
  }
  if constexpr (has_minimum(kScales)) {
    const __m256 minimum = minimum_of<kScales>(tile, block, row);
    UNROLLED for (int t = 0; t < kTokens; ++t) {
      const __m256 sum = _mm256_set1_ps(inputs[static_cast<size_t>(t) * stride].scaled_sum);
      sums[t] = _mm256_fmadd_ps(minimum, sum, sums[t]);
    }
  }
}

inline void write_outputs(const PackedMatmulArguments& a, size_t row, size_t token, __m256 value) {
  if (row >= a.weights.rows) return;
  const __m256i mask = lane_mask(smaller(kHalfRows, a.weights.rows - row));
  float* out = a.outputs + token * a.output_stride + row;
  if (a.bias != nullptr) value = _mm256_add_ps(value, _mm256_maskload_ps(a.bias + row, mask));
  if (a.accumulate) value = _mm256_add_ps(_mm256_maskload_ps(out, mask), value);
  _mm256_maskstore_ps(out, mask, value);
}

struct Adder {
  using Type = __m256;
  static inline __m256 add(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
};

template <int kBits, ScaleKind kScales, int kTokens>
void multiply_tokens(const PackedMatmulArguments& a, size_t token) {
  const size_t blocks = input_blocks(a.weights.columns);
  const size_t bytes = group_bytes({kBits, kScales}, a.weights.columns);
  const ColumnParts parts = written_out(a.parts, a.weights.columns);
  const InputBlock* const inputs = a.inputs + token * blocks;
  const uint8_t* weights = a.weights.data + a.group_begin * bytes;
  for (size_t group = a.group_begin; group < a.group_end; ++group, weights += bytes) {
    PartSums<Adder, 2 * kTokens> joined;
    __m256 sums[2 * kTokens] = {};  // [half of the group, token]
    for (size_t part = 0; part < parts.count; ++part) {
      UNROLLED for (__m256& sum : sums) sum = _mm256_setzero_ps();
      const size_t end = input_blocks(parts.ends[part]);
      for (size_t block = input_blocks(begin_of(parts, part)); block < end;) {
        const TileRun run = tile_run(block, end, blocks);
        const uint8_t* tile = weights + run.tile / kTileBlocks * tile_bytes({kBits, kScales}, kTileBlocks);
        const uint8_t* codes =
            tile + tile_scale_bytes(kScales, run.count) + run.first * block_code_bytes(kBits);
        for (size_t b = run.first; b < run.last; ++b, ++block, codes += block_code_bytes(kBits)) {
          UNROLLED for (size_t h = 0; h < 2; ++h) {
            add_block<kBits, kScales, kTokens>(tile, codes, b, h * kHalfRows, inputs + block, blocks,
                                               sums + h * kTokens);
          }
        }
      }
      joined.join(parts, part, sums);
    }
    UNROLLED for (size_t h = 0; h < 2; ++h) {
      UNROLLED for (size_t t = 0; t < kTokens; ++t) {
        write_outputs(a, group * kRowsOfGroup + h * kHalfRows, token + t, sums[h * kTokens + t]);
      }
    }
  }
}

template <int kBits, ScaleKind kScales>
void multiply(const PackedMatmulArguments& a) {
  size_t token = 0;
  for (; token + kTokensAtOnce <= a.tokens; token += kTokensAtOnce) {
    multiply_tokens<kBits, kScales, kTokensAtOnce>(a, token);
  }
  for (; token < a.tokens; ++token) multiply_tokens<kBits, kScales, 1>(a, token);
}

// 8 floats as integers, times `inverse`.
inline __m256i rounded(const float* x, __m256 inverse) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
}
inline int sum_of(__m256i v) {
  const __m128i quad = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  const __m128i pair = _mm_add_epi32(quad, _mm_shuffle_epi32(quad, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32(pair, 0xb1)));
}
inline int largest_of(__m256i v) {
  const __m128i quad = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  const __m128i pair = _mm_max_epi32(quad, _mm_shuffle_epi32(quad, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(pair, _mm_shuffle_epi32(pair, 0xb1)));
}
inline __m256i magnitude_bits(const float* x) {
  return _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x)), _mm256_set1_epi32(0x7fffffff));
}

void quantize_block(const float* x, InputBlock* out) {
  const int bits =
      largest_of(_mm256_max_epi32(_mm256_max_epi32(magnitude_bits(x), magnitude_bits(x + 8)),
                                  _mm256_max_epi32(magnitude_bits(x + 16), magnitude_bits(x + 24))));
  float largest;
  memcpy(&largest, &bits, sizeof largest);
  if (bits >= 0x7f800000 || largest < 0x1p-100f) {
    memset(out, 0, sizeof *out);
    if (bits >= 0x7f800000) out->scale = out->scaled_sum = __builtin_nanf("");
    return;
  }
  const __m256 inverse = _mm256_set1_ps(127.0f / largest);
  const __m256i a = rounded(x, inverse), b = rounded(x + 8, inverse), c = rounded(x + 16, inverse),
                d = rounded(x + 24, inverse);
  // Packing works within 128-bit lanes: the words come out as 0 4 1 5 ... and are put in order.
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
  const __m256i ordered = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out->codes), ordered);
  const int first = sum_of(_mm256_add_epi32(a, b)), sum = first + sum_of(_mm256_add_epi32(c, d));
  out->scale = largest / 127.0f;
  out->scaled_sum = out->scale * static_cast<float>(sum);
  out->negative_sum = -sum;
  out->negative_first_half = -first;
}

}  // namespace

void avx2_quantize_inputs(const float* x, size_t columns, InputBlock* out) {
  for (size_t b = 0; b < input_blocks(columns); ++b) quantize_block(x + b * kInputBlock, out + b);
}

void avx2_packed_matmul(const PackedMatmulArguments& a) {
  with_packed_layout(a.weights.type, [&]<int kBits, ScaleKind kScales>() { multiply<kBits, kScales>(a); });
}

}  // namespace deepserve::kernels
