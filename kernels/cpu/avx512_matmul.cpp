// Matrices of unpacked weights on CPUs with AVX-512. Includes no header with inline functions of external
// linkage (see avx512_math.h).
//
// The order of every part's sum: columns in chunks of kChunkColumns; inside a chunk 16 lanes, column i into
// lane i % 16, columns ascending, one FMA each; the lanes joined by the fixed tree of join_lanes; the chunks'
// sums added ascending. No tile shape changes it. Chunks keep a tile's inputs in the first-level cache and a
// strip's weights in the second.
#include "kernels/cpu/avx512_matmul.h"

#include "kernels/cpu/avx2_math.h"
#include "kernels/cpu/avx2_matmul.h"
#include "kernels/cpu/avx512_math.h"

// Loops over tiles must vanish, or the compiler keeps their sums in memory.
#define UNROLLED _Pragma("GCC unroll 16")

namespace deepserve::kernels {
namespace {

constexpr int kTileRows = 4;
constexpr int kTileTokens = 6;  // 24 sums, 6 inputs and a weight fill the 32 registers
constexpr size_t kChunkColumns = 1024;
constexpr size_t kRegisterTokensMax = 32;  // whose inputs stay in the caches without strips
constexpr size_t kAheadBytes = 2048;       // what is asked for ahead of a stream of weights

struct F32 {
  static constexpr size_t kBytes = 4;
  static inline __m512 load(const uint8_t* row, size_t column) { return _mm512_loadu_ps(row + 4 * column); }
  static inline __m512 load_tail(const uint8_t* row, size_t column, __mmask16 mask) {
    return _mm512_maskz_loadu_ps(mask, row + 4 * column);
  }
};

struct F16 {
  static constexpr size_t kBytes = 2;
  static inline __m512 load(const uint8_t* row, size_t column) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * column)));
  }
  static inline __m512 load_tail(const uint8_t* row, size_t column, __mmask16 mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * column));
  }
};

struct BF16 {
  static constexpr size_t kBytes = 2;
  static inline __m512 widen(__m256i bits) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static inline __m512 load(const uint8_t* row, size_t column) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * column)));
  }
  static inline __m512 load_tail(const uint8_t* row, size_t column, __mmask16 mask) {
    return widen(_mm256_maskz_loadu_epi16(mask, row + 2 * column));
  }
};

// [total of a, of b, of c, of d]. Inside each quarter (x0+x2)+(x1+x3), then the quarters (q0+q2)+(q1+q3).
inline __m128 join_lanes(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512d low = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  const __m512d high = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
  const __m512 quarters = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
  const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(quarters), _mm512_extractf32x8_ps(quarters, 1));
  return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

struct Adder {
  using Type = __m128;
  static inline __m128 add(__m128 a, __m128 b) { return _mm_add_ps(a, b); }
};

struct FourRows {
  const uint8_t* row[kTileRows];
};

// The first of `count` rows lies at `first`, the others `stride` bytes apart; where fewer than four are left
// the last stands for those that are not there.
inline FourRows rows_at(const uint8_t* first, size_t stride, size_t count) {
  FourRows rows;
  for (size_t r = 0; r < kTileRows; ++r) rows.row[r] = first + smaller(r, count - 1) * stride;
  return rows;
}

// Which weights a tile asks for while it computes: for its columns i to i + 31 those `offset + i / 32 * step`
// bytes behind the row's first.
struct Ahead {
  size_t offset;
  size_t step;
};

// totals[t] = the four rows' sums over columns [begin, end) with inputs of kTokens tokens; `ahead` where
// kAhead.
template <typename Format, int kTokens, bool kAhead>
inline void chunk_sums(const FourRows& weights, const float* inputs, size_t stride, size_t begin, size_t end,
                       Ahead ahead, __m128 totals[kTokens]) {
  __m512 sums[kTileRows][kTokens];
  UNROLLED for (auto& row_sums : sums) {
    UNROLLED for (__m512& sum : row_sums) sum = _mm512_setzero_ps();
  }
  const float* x[kTokens];
  UNROLLED for (int t = 0; t < kTokens; ++t) x[t] = inputs + static_cast<size_t>(t) * stride;
  const FourRows w = weights;
  const auto add = [&](size_t column, auto load_input, auto load_weights) __attribute__((always_inline)) {
    __m512 input[kTokens];
    UNROLLED for (int t = 0; t < kTokens; ++t) input[t] = in_register(load_input(x[t] + column));
    UNROLLED for (int r = 0; r < kTileRows; ++r) {
      const __m512 weight = in_register(load_weights(w.row[r], column));
      UNROLLED for (int t = 0; t < kTokens; ++t) sums[r][t] = _mm512_fmadd_ps(weight, input[t], sums[r][t]);
    }
  };
  const auto add_16 = [&](size_t column) __attribute__((always_inline)) {
    add(
        column, [](const float* from) { return _mm512_loadu_ps(from); },
        [](const uint8_t* row, size_t at) { return Format::load(row, at); });
  };
  size_t column = begin;
  for (; column + 32 <= end; column += 32) {
    if constexpr (kAhead) {
      const size_t offset = ahead.offset + column / 32 * ahead.step;
      UNROLLED for (int r = 0; r < kTileRows; ++r) {
        UNROLLED for (size_t line = 0; line < 32 * Format::kBytes; line += 64)
            _mm_prefetch(reinterpret_cast<const char*>(w.row[r] + offset + line), _MM_HINT_T0);
      }
    }
    add_16(column);
    add_16(column + 16);
  }
  for (; column + 16 <= end; column += 16) add_16(column);
  if (column < end) {
    const __mmask16 mask = first_lanes(end - column);
    add(
        column, [mask](const float* from) { return _mm512_maskz_loadu_ps(mask, from); },
        [mask](const uint8_t* row, size_t at) { return Format::load_tail(row, at, mask); });
  }
  UNROLLED for (int t = 0; t < kTokens; ++t) totals[t] =
      join_lanes(sums[0][t], sums[1][t], sums[2][t], sums[3][t]);
}

// Four rows (`count` of them there) of one token.
inline void write_outputs(const MatmulArguments& a, size_t row, size_t count, size_t token, __m128 value) {
  float* out = a.outputs + token * a.output_stride + row;
  const auto mask = static_cast<__mmask8>((1u << count) - 1);
  if (a.bias != nullptr) value = _mm_add_ps(value, _mm_maskz_loadu_ps(mask, a.bias + row));
  if (a.accumulate) value = _mm_add_ps(_mm_maskz_loadu_ps(mask, out), value);
  _mm_mask_storeu_ps(out, mask, value);
}

// Calls tile(token, integral constant of its tokens) for [begin, end) in tiles of nearly equal size.
template <typename Tile>
inline void for_token_tiles(size_t begin, size_t end, const Tile& tile) {
  for (size_t token = begin; token < end;) {
    const size_t left = end - token;
    const size_t tiles = (left + kTileTokens - 1) / kTileTokens;
    const size_t count = (left + tiles - 1) / tiles;
    switch (count) {
      case 6:
        tile.template operator()<6>(token);
        break;
      case 5:
        tile.template operator()<5>(token);
        break;
      case 4:
        tile.template operator()<4>(token);
        break;
      case 3:
        tile.template operator()<3>(token);
        break;
      case 2:
        tile.template operator()<2>(token);
        break;
      default:
        tile.template operator()<1>(token);
        break;
    }
    token += count;
  }
}

// Tokens [begin, end).
struct Range {
  size_t begin, end;
};

// Four rows of one tile, anywhere.
struct ScatteredRows {
  size_t index[kTileRows];
  size_t count;
};

inline void write_scattered(const MatmulArguments& a, const ScatteredRows& rows, size_t token,
                            __m128 values) {
  float* out = a.outputs + token * a.output_stride;
  alignas(16) float value[kTileRows];
  _mm_store_ps(value, values);
  for (size_t r = 0; r < rows.count; ++r) {
    if (a.bias != nullptr) value[r] += a.bias[rows.index[r]];
    float& to = out[rows.index[r]];
    to = a.accumulate ? to + value[r] : value[r];
  }
}

// totals[t] = the four rows' sums over columns [first, end).
template <typename Format, int kTokens, bool kAhead>
inline void part_sums(const FourRows& weights, const float* inputs, size_t stride, size_t first, size_t end,
                      Ahead ahead, __m128 totals[kTokens]) {
  chunk_sums<Format, kTokens, kAhead>(weights, inputs, stride, first, smaller(first + kChunkColumns, end),
                                      ahead, totals);
  for (size_t begin = first + kChunkColumns; begin < end; begin += kChunkColumns) {
    __m128 sums[kTokens];
    chunk_sums<Format, kTokens, kAhead>(weights, inputs, stride, begin, smaller(begin + kChunkColumns, end),
                                        ahead, sums);
    UNROLLED for (int t = 0; t < kTokens; ++t) totals[t] = _mm_add_ps(totals[t], sums[t]);
  }
}

template <typename Format, int kTokens, bool kAhead>
inline void register_tile(const MatmulArguments& a, const ScatteredRows& rows, size_t token, Ahead ahead) {
  FourRows weights;
  for (size_t r = 0; r < kTileRows; ++r)
    weights.row[r] = a.weights.data + rows.index[smaller(r, rows.count - 1)] * a.weights.row_bytes;
  const float* inputs = a.inputs + token * a.input_stride;
  __m128 totals[kTokens];
  if (a.parts.count == 0) {
    part_sums<Format, kTokens, kAhead>(weights, inputs, a.input_stride, 0, a.weights.columns, ahead, totals);
  } else {
    PartSums<Adder, kTokens> joined;
    for (size_t part = 0; part < a.parts.count; ++part) {
      part_sums<Format, kTokens, kAhead>(weights, inputs, a.input_stride, begin_of(a.parts, part),
                                         a.parts.ends[part], ahead, totals);
      joined.join(a.parts, part, totals);
    }
  }
  UNROLLED for (int t = 0; t < kTokens; ++t)
      write_scattered(a, rows, token + static_cast<size_t>(t), totals[t]);
}

// Few tokens: reading the weights is what takes the time. A tile's rows lie a
// quarter of the range apart: four long streams, of which at most one at a time waits at a page's border,
// reach the memory's bandwidth; four neighbouring rows, one short stream, three quarters of it. With one
// token the CPU sees the streams coming by itself, and is slower told of them. With more they come too slowly
// for that (kAhead): one tile of tokens asks for what comes next in its rows; several, during which the
// streams stand still, for a part each of the rows that follow, so that the memory works all the time.
template <typename Format, bool kAhead>
void matmul_in_registers(const MatmulArguments& a) {
  const size_t quarter = (a.row_end - a.row_begin) / kTileRows;
  const size_t tiles = (a.tokens + kTileTokens - 1) / kTileTokens;
  const size_t step = (32 * Format::kBytes + tiles - 1) / tiles;
  const auto tile = [&](const ScatteredRows& rows) {
    Ahead ahead = {tiles == 1 ? kAheadBytes : a.weights.row_bytes, step};
    for_token_tiles(0, a.tokens, [&]<int kTokens>(size_t token) {
      register_tile<Format, kTokens, kAhead>(a, rows, token, ahead);
      ahead.offset += a.weights.columns / 32 * step;
    });
  };
  ScatteredRows rows;
  rows.count = kTileRows;
  for (size_t i = 0; i < quarter; ++i) {
    for (size_t r = 0; r < kTileRows; ++r) rows.index[r] = a.row_begin + r * quarter + i;
    tile(rows);
  }
  const size_t rest = a.row_begin + quarter * kTileRows;
  if (rest == a.row_end) return;
  rows.count = a.row_end - rest;
  for (size_t r = 0; r < rows.count; ++r) rows.index[r] = rest + r;
  tile(rows);
}

// Weights of four rows, columns [begin, ...) of the matrix at index 0: where they lie.
template <typename Format>
struct WeightsInPlace {
  using Weights = Format;
  static constexpr bool kDecodes = false;
  static constexpr size_t kStripRows = 512 / Format::kBytes;  // 512 KiB of weights at a time
  static constexpr size_t kStripTokens = 132;
  FourRows rows(const Matrix& matrix, size_t row, size_t count, size_t begin, size_t) {
    return rows_at(matrix.data + row * matrix.row_bytes + begin * Format::kBytes, matrix.row_bytes, count);
  }
};

// The same, decoded, from the block's first column on.
struct WeightsInPanel {
  using Weights = F32;
  static constexpr bool kDecodes = true;
  static constexpr size_t kStripRows = 128, kStripTokens = 120;
  static constexpr size_t kStride = kChunkColumns + 256;  // the largest block
  alignas(64) float panel[kTileRows * kStride];

  FourRows rows(const Matrix& matrix, size_t row, size_t count, size_t begin, size_t end) {
    const WeightFormat& format = weight_format(matrix.type);
    const size_t offset = begin / format.block_elements * format.block_bytes;
    const size_t before = begin % format.block_elements;
    for (size_t r = 0; r < count; ++r) {
      avx2_dequantize(matrix.type, matrix.data + (row + r) * matrix.row_bytes + offset, before + end - begin,
                      panel + r * kStride);
    }
    return rows_at(reinterpret_cast<const uint8_t*>(panel + before), kStride * sizeof(float), count);
  }
};

// What a strip has summed: [rows / 4][tokens], of the current part and of those that wait.
template <typename Source>
struct StripSums {
  __m128 sums[kWaitingPartsMax + 1][Source::kStripRows / kTileRows][Source::kStripTokens];
};

// A tile among a strip's.
struct Place {
  size_t tile;   // of rows
  size_t token;  // its first
};

// One chunk of a part: its columns, and where its sums go.
struct Chunk {
  size_t begin, end;
  bool is_first;  // of its part
  size_t depth;   // of StripSums: the part's
  size_t joins;   // where the part ends, so many of the sums before are added to it
  bool is_last;   // of the last part
};

// Rows [row, row + count) of a chunk for kTokens tokens, `at` the place of both among the strip's.
template <typename Source, int kTokens>
inline void strip_tile(const MatmulArguments& a, const Chunk& chunk, const FourRows& rows, size_t row,
                       size_t count, size_t token, Place at, StripSums<Source>& strip) {
  __m128 sums[kTokens];
  chunk_sums<typename Source::Weights, kTokens, false>(rows, a.inputs + token * a.input_stride + chunk.begin,
                                                       a.input_stride, 0, chunk.end - chunk.begin, {}, sums);
  UNROLLED for (size_t t = 0; t < kTokens; ++t) {
    size_t depth = chunk.depth;
    if (!chunk.is_first) sums[t] = _mm_add_ps(strip.sums[depth][at.tile][at.token + t], sums[t]);
    for (; depth != chunk.depth - chunk.joins; --depth)
      sums[t] = _mm_add_ps(strip.sums[depth - 1][at.tile][at.token + t], sums[t]);
    if (chunk.is_last)
      write_outputs(a, row, count, token + t, sums[t]);
    else
      strip.sums[depth][at.tile][at.token + t] = sums[t];
  }
}

// A strip's rows and tokens over one chunk. What is dear to load again is the outer loop's: inputs, twice as
// wide as weights and of more tokens than a tile has rows, stay in the first-level cache while weights go by;
// weights that are decoded into a panel are decoded once.
template <typename Source>
inline void strip_chunk(const MatmulArguments& a, const Chunk& chunk, Range strip_rows, Range tokens,
                        Source& source, StripSums<Source>& strip) {
  const auto tile = [&]<int kTokens>(const FourRows& rows, size_t row, size_t token) {
    const Place at = {(row - strip_rows.begin) / kTileRows, token - tokens.begin};
    strip_tile<Source, kTokens>(a, chunk, rows, row, smaller(kTileRows, strip_rows.end - row), token, at,
                                strip);
  };
  const auto rows_from = [&](size_t row) {
    return source.rows(a.weights, row, smaller(kTileRows, strip_rows.end - row), chunk.begin, chunk.end);
  };
  if constexpr (Source::kDecodes) {
    for (size_t row = strip_rows.begin; row < strip_rows.end; row += kTileRows) {
      const FourRows rows = rows_from(row);
      for_token_tiles(tokens.begin, tokens.end, [&]<int kTokens>(size_t token) {
        tile.template operator()<kTokens>(rows, row, token);
      });
    }
  } else {
    for_token_tiles(tokens.begin, tokens.end, [&]<int kTokens>(size_t token) {
      for (size_t row = strip_rows.begin; row < strip_rows.end; row += kTileRows)
        tile.template operator()<kTokens>(rows_from(row), row, token);
    });
  }
}

// Many tokens, or weights that registers cannot decode: strips of rows and tokens go over chunks of columns.
template <typename Source>
void matmul_in_strips(const MatmulArguments& a) {
  Source source;
  StripSums<Source> sums;
  const ColumnParts parts = written_out(a.parts, a.weights.columns);
  const size_t strips = (a.tokens + Source::kStripTokens - 1) / Source::kStripTokens;
  for (size_t row = a.row_begin; row < a.row_end; row += Source::kStripRows) {
    const Range rows = {row, smaller(row + Source::kStripRows, a.row_end)};
    for (size_t strip = 0; strip < strips; ++strip) {
      const Range tokens = {strip * a.tokens / strips, (strip + 1) * a.tokens / strips};
      size_t depth = 0;
      for (size_t part = 0; part < parts.count; ++part) {
        const size_t first = begin_of(parts, part), part_end = parts.ends[part];
        const size_t joins = joins_behind(parts.count, part);
        for (size_t begin = first; begin < part_end; begin += kChunkColumns) {
          const size_t end = smaller(begin + kChunkColumns, part_end);
          const bool ends = end == part_end;
          const Chunk chunk = {
              begin, end, begin == first, depth, ends ? joins : 0, ends && part + 1 == parts.count};
          strip_chunk(a, chunk, rows, tokens, source, sums);
        }
        depth = depth + 1 - joins;
      }
    }
  }
}

template <typename Format>
void matmul_in_place(const MatmulArguments& a) {
  if (a.tokens == 1) return matmul_in_registers<Format, false>(a);
  if (a.tokens <= kRegisterTokensMax) return matmul_in_registers<Format, true>(a);
  matmul_in_strips<WeightsInPlace<Format>>(a);
}

}  // namespace

void avx512_matmul(const MatmulArguments& a) {
  switch (a.weights.type) {
    case WeightType::kF32:
      return matmul_in_place<F32>(a);
    case WeightType::kF16:
      return matmul_in_place<F16>(a);
    case WeightType::kBF16:
      return matmul_in_place<BF16>(a);
    default:
      return matmul_in_strips<WeightsInPanel>(a);
  }
}

}  // namespace deepserve::kernels
