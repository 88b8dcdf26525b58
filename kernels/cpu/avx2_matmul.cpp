// Matrices of every weight format on CPUs with AVX2, FMA and F16C. Includes no header with inline functions
// of external linkage (see avx2_math.h). Products are fused explicitly, always in the same order, so every
// tile shape gives the same bits.
#include "kernels/cpu/avx2_matmul.h"

#include "kernels/cpu/avx2_formats.h"
#include "kernels/cpu/avx2_formats_k.h"
#include "kernels/cpu/avx2_math.h"

// Loops over tiles must vanish, or the compiler keeps their sums in memory.
#define UNROLLED _Pragma("GCC unroll 16")

namespace deepserve::kernels {
namespace {

// Writes all vectors whole but a last partial one, which gets `tail` lanes: 8 pads `out` with zeros.
template <typename Format>
void decode_row(const uint8_t* row, size_t elements, float* out, size_t tail = 8) {
  size_t column = 0;
  for (; column + 32 <= elements; column += 32) {
    __m256 w[4];
    decode_32<Format>(row, column, w);
    for (int i = 0; i < 4; ++i) _mm256_storeu_ps(out + column + 8 * i, w[i]);
  }
  if constexpr (Format::kAnyLength) {
    for (; column + 8 <= elements; column += 8) _mm256_storeu_ps(out + column, Format::decode_8(row, column));
    if (column < elements)
      store_tail(out + column, tail, Format::decode_tail(row, column, elements - column));
  }
}

template <typename Format>
void dequantize_format(const uint8_t* row, size_t elements, float* out) {
  decode_row<Format>(row, elements, out, elements % 8);
}

inline void write_output(const MatmulArguments& a, size_t row, size_t token, float value) {
  float* out = a.outputs + token * a.output_stride + row;
  if (a.bias != nullptr) value += a.bias[row];
  *out = a.accumulate ? *out + value : value;
}

struct Adder {
  using Type = float;
  static inline float add(float a, float b) { return a + b; }
};

// sums += kRows rows' columns [begin, end) times kTokens inputs. Per output: 8 lanes, columns ascending, one
// FMA each.
template <typename Format, int kRows, int kTokens>
inline void add_columns(const uint8_t* const weights[kRows], const float* const inputs[kTokens], size_t begin,
                        size_t end, __m256 sums[kRows][kTokens]) {
  size_t column = begin;
  for (; column + 32 <= end; column += 32) {
    UNROLLED for (int r = 0; r < kRows; ++r) {
      __m256 w[4];
      decode_32<Format>(weights[r], column, w);
      UNROLLED for (int i = 0; i < 4; ++i) {
        UNROLLED for (int t = 0; t < kTokens; ++t) {
          sums[r][t] = _mm256_fmadd_ps(w[i], _mm256_loadu_ps(inputs[t] + column + 8 * i), sums[r][t]);
        }
      }
    }
  }
  if constexpr (Format::kAnyLength) {
    for (; column + 8 <= end; column += 8) {
      UNROLLED for (int r = 0; r < kRows; ++r) {
        const __m256 w = Format::decode_8(weights[r], column);
        UNROLLED for (int t = 0; t < kTokens; ++t) {
          sums[r][t] = _mm256_fmadd_ps(w, _mm256_loadu_ps(inputs[t] + column), sums[r][t]);
        }
      }
    }
    if (column < end) {
      const size_t count = end - column;
      UNROLLED for (int r = 0; r < kRows; ++r) {
        const __m256 w = Format::decode_tail(weights[r], column, count);
        UNROLLED for (int t = 0; t < kTokens; ++t) {
          sums[r][t] = _mm256_fmadd_ps(w, load_tail(inputs[t] + column, count), sums[r][t]);
        }
      }
    }
  }
}

// One tile of outputs: kRows weight rows against kTokens inputs.
template <typename Format, int kRows, int kTokens>
void matmul_tile(const MatmulArguments& a, const ColumnParts& parts, size_t row, size_t token) {
  const uint8_t* weights[kRows];
  const float* inputs[kTokens];
  UNROLLED for (int r = 0; r < kRows; ++r) weights[r] = a.weights.data + (row + r) * a.weights.row_bytes;
  UNROLLED for (int t = 0; t < kTokens; ++t) inputs[t] = a.inputs + (token + t) * a.input_stride;
  PartSums<Adder, kRows * kTokens> joined;
  float totals[kRows * kTokens] = {};
  for (size_t part = 0; part < parts.count; ++part) {
    __m256 sums[kRows][kTokens];
    UNROLLED for (auto& row_sums : sums) {
      UNROLLED for (__m256& sum : row_sums) sum = _mm256_setzero_ps();
    }
    add_columns<Format, kRows, kTokens>(weights, inputs, begin_of(parts, part), parts.ends[part], sums);
    UNROLLED for (int r = 0; r < kRows; ++r) {
      UNROLLED for (int t = 0; t < kTokens; ++t) totals[r * kTokens + t] = sum_lanes(sums[r][t]);
    }
    joined.join(parts, part, totals);
  }
  UNROLLED for (int t = 0; t < kTokens; ++t) {
    UNROLLED for (int r = 0; r < kRows; ++r) write_output(a, row + r, token + t, totals[r * kTokens + t]);
  }
}

template <typename Format, int kTokens>
void matmul_rows(const MatmulArguments& a, const ColumnParts& parts, size_t token) {
  // With one token, four rows at once keep enough independent sums in flight; with more, the tokens do.
  constexpr int kRows = kTokens == 1 ? 4 : kTokens == 2 ? 2 : 1;
  size_t row = a.row_begin;
  for (; row + kRows <= a.row_end; row += kRows) matmul_tile<Format, kRows, kTokens>(a, parts, row, token);
  for (; row < a.row_end; ++row) matmul_tile<Format, 1, kTokens>(a, parts, row, token);
}

// Few tokens: weights are decoded in registers, once for up to 8 tokens.
template <typename Format>
void matmul_narrow(const MatmulArguments& a) {
  const ColumnParts parts = written_out(a.parts, a.weights.columns);
  size_t token = 0;
  for (; token + 8 <= a.tokens; token += 8) matmul_rows<Format, 8>(a, parts, token);
  if (token + 4 <= a.tokens) {
    matmul_rows<Format, 4>(a, parts, token);
    token += 4;
  }
  if (token + 2 <= a.tokens) {
    matmul_rows<Format, 2>(a, parts, token);
    token += 2;
  }
  if (token < a.tokens) matmul_rows<Format, 1>(a, parts, token);
}

constexpr int kPanelRows = 4;
constexpr size_t kPanelColumnsMax = 8192;  // 128 KiB on the stack
constexpr size_t kPanelTokensMin = 12;

// Decoded rows [kPanelRows, stride] against kTokens inputs, in the same order as matmul_tile.
template <int kTokens>
void panel_tile(const MatmulArguments& a, const ColumnParts& parts, const float* panel, size_t stride,
                size_t row, size_t token) {
  const float* inputs[kTokens];
  UNROLLED for (int t = 0; t < kTokens; ++t) inputs[t] = a.inputs + (token + t) * a.input_stride;
  PartSums<Adder, kPanelRows * kTokens> joined;
  float totals[kPanelRows * kTokens] = {};
  for (size_t part = 0; part < parts.count; ++part) {
    __m256 sums[kPanelRows][kTokens];
    UNROLLED for (auto& row_sums : sums) {
      UNROLLED for (__m256& sum : row_sums) sum = _mm256_setzero_ps();
    }
    const auto add_column = [&](size_t column, auto load) __attribute__((always_inline)) {
      __m256 x[kTokens];
      UNROLLED for (int t = 0; t < kTokens; ++t) x[t] = load(inputs[t] + column);
      UNROLLED for (int r = 0; r < kPanelRows; ++r) {
        const __m256 w = load(panel + r * stride + column);
        UNROLLED for (int t = 0; t < kTokens; ++t) sums[r][t] = _mm256_fmadd_ps(w, x[t], sums[r][t]);
      }
    };
    size_t column = begin_of(parts, part);
    const size_t end = parts.ends[part];
    for (; column + 8 <= end; column += 8)
      add_column(column, [](const float* from) { return _mm256_loadu_ps(from); });
    if (column < end) add_column(column, [&](const float* from) { return load_tail(from, end - column); });
    UNROLLED for (int r = 0; r < kPanelRows; ++r) {
      UNROLLED for (int t = 0; t < kTokens; ++t) totals[r * kTokens + t] = sum_lanes(sums[r][t]);
    }
    joined.join(parts, part, totals);
  }
  UNROLLED for (int t = 0; t < kTokens; ++t) {
    UNROLLED for (int r = 0; r < kPanelRows; ++r)
        write_output(a, row + r, token + t, totals[r * kTokens + t]);
  }
}

void panel_tokens(const MatmulArguments& a, const ColumnParts& parts, const float* panel, size_t stride,
                  size_t row, size_t token, size_t token_end) {
  for (; token + 3 <= token_end; token += 3) panel_tile<3>(a, parts, panel, stride, row, token);
  if (token + 2 <= token_end) return panel_tile<2>(a, parts, panel, stride, row, token);
  if (token < token_end) panel_tile<1>(a, parts, panel, stride, row, token);
}

// Many tokens: four rows at a time are decoded into a panel that a strip of tokens then shares. A strip's
// inputs stay in the second-level cache while the panels go by.
template <typename Format>
void matmul_wide(const MatmulArguments& a) {
  constexpr size_t kStripElements = 65536;
  alignas(32) float panel[kPanelRows * kPanelColumnsMax];
  const ColumnParts parts = written_out(a.parts, a.weights.columns);
  const size_t columns = a.weights.columns;
  const size_t stride = (columns + 7) / 8 * 8;
  const size_t fitting = kStripElements / columns / 3 * 3;
  const size_t strip = fitting < kPanelTokensMin ? kPanelTokensMin : fitting;
  const size_t row_end = a.row_begin + (a.row_end - a.row_begin) / kPanelRows * kPanelRows;
  for (size_t token = 0; token < a.tokens; token += strip) {
    for (size_t row = a.row_begin; row < row_end; row += kPanelRows) {
      for (int r = 0; r < kPanelRows; ++r) {
        decode_row<Format>(a.weights.data + (row + r) * a.weights.row_bytes, columns, panel + r * stride);
      }
      panel_tokens(a, parts, panel, stride, row, token, smaller(token + strip, a.tokens));
    }
  }
  MatmulArguments rest = a;
  rest.row_begin = row_end;
  matmul_narrow<Format>(rest);
}

template <typename Format>
void matmul_format(const MatmulArguments& a) {
  if (a.tokens >= kPanelTokensMin && a.weights.columns <= kPanelColumnsMax) return matmul_wide<Format>(a);
  matmul_narrow<Format>(a);
}

struct FormatFunctions {
  void (*matmul)(const MatmulArguments& a);
  void (*dequantize)(const uint8_t* row, size_t elements, float* out);
};
template <typename Format>
constexpr FormatFunctions kOf = {matmul_format<Format>, dequantize_format<Format>};

constexpr FormatFunctions kFunctions[] = {
    // by WeightType
    kOf<FormatF32>,  kOf<FormatF16>,  kOf<FormatBF16>,  kOf<FormatQ4_0>,   kOf<FormatQ4_1>, kOf<FormatQ5_0>,
    kOf<FormatQ5_1>, kOf<FormatQ8_0>, kOf<FormatIQ4NL>, kOf<FormatQ2K>,    kOf<FormatQ3K>,  kOf<FormatQ4K>,
    kOf<FormatQ5K>,  kOf<FormatQ6K>,  kOf<FormatIQ4XS>, kOf<FormatF8E4M3>,
};
static_assert(sizeof kFunctions / sizeof kFunctions[0] == static_cast<size_t>(WeightType::kCount));

}  // namespace

void avx2_matmul(const MatmulArguments& a) {
  kFunctions[static_cast<size_t>(a.weights.type)].matmul(a);
}

void avx2_dequantize(WeightType type, const uint8_t* row, size_t elements, float* out) {
  kFunctions[static_cast<size_t>(type)].dequantize(row, elements, out);
}

}  // namespace deepserve::kernels
