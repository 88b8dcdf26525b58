// The reference for packed matrices: one weight at a time, read as packed_layout.h says.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/cpu/packed_layout.h"
#include "kernels/cpu/packed_matmul.h"
#include "kernels/cpu/packed_row.h"

namespace deepserve::kernels {
namespace {

float integer_dot(const int* codes, const int8_t* inputs, size_t size) {
  int dot = 0;
  for (size_t i = 0; i < size; ++i) dot += codes[i] * inputs[i];
  return static_cast<float>(dot);
}

float add_block(const PackedRow& row, ScaleKind scales, size_t block, const int* codes, const InputBlock& x,
                float sum) {
  if (scales == ScaleKind::kSuperOf16) {
    sum = std::fma(integer_dot(codes, x.codes, 16), row.scale(block, 0) * x.scale, sum);
    return std::fma(integer_dot(codes + 16, x.codes + 16, 16), row.scale(block, 1) * x.scale, sum);
  }
  sum = std::fma(integer_dot(codes, x.codes, 32), row.scale(block, 0) * x.scale, sum);
  return scales == ScaleKind::kHalf ? sum : std::fma(row.minimum(block), x.scaled_sum, sum);
}

struct Adder {
  using Type = float;
  static float add(float a, float b) { return a + b; }
};

// The largest |x| of a block as the bits of a float; above those of infinity when there is a NaN.
uint32_t largest_magnitude(const float* x) {
  uint32_t largest = 0;
  for (size_t i = 0; i < kInputBlock; ++i) {
    largest = std::max(largest, std::bit_cast<uint32_t>(x[i]) & 0x7fffffff);
  }
  return largest;
}

}  // namespace

void scalar_quantize_inputs(const float* x, size_t columns, InputBlock* out) {
  for (size_t b = 0; b < input_blocks(columns); ++b, x += kInputBlock, ++out) {
    const uint32_t bits = largest_magnitude(x);
    const float largest = std::bit_cast<float>(bits);
    const bool finite = bits < 0x7f800000, counts = finite && largest >= 0x1p-100f;
    out->scale = !finite ? std::numeric_limits<float>::quiet_NaN() : counts ? largest / 127.0f : 0.0f;
    const float inverse = counts ? 127.0f / largest : 0.0f;
    int halves[2] = {};
    for (size_t i = 0; i < kInputBlock; ++i) {
      const int code = counts ? static_cast<int>(std::nearbyint(x[i] * inverse)) : 0;
      out->codes[i] = static_cast<int8_t>(code);
      halves[i / 16] += code;
    }
    out->scaled_sum = out->scale * static_cast<float>(halves[0] + halves[1]);
    out->negative_sum = -(halves[0] + halves[1]);
    out->negative_first_half = -halves[0];
  }
}

void scalar_packed_matmul(const PackedMatmulArguments& a) {
  constexpr size_t kTokens = 16;  // of one pass over a row; changes no sum
  const PackedMatrix& weights = a.weights;
  const ScaleKind scales = packed_layout(weights.type).scales;
  const size_t blocks = input_blocks(weights.columns);
  const ColumnParts parts = written_out(a.parts, weights.columns);
  const size_t row_end = std::min(a.group_end * kRowsOfGroup, weights.rows);
  for (size_t r = a.group_begin * kRowsOfGroup; r < row_end; ++r) {
    const uint8_t* group =
        weights.data + r / kRowsOfGroup * packed_group_bytes(weights.type, weights.columns);
    const PackedRow row(weights.type, group, r % kRowsOfGroup, weights.columns);
    for (size_t token = 0; token < a.tokens; token += kTokens) {
      const size_t tokens = std::min(kTokens, a.tokens - token);
      PartSums<Adder, kTokens> joined;
      float sums[kTokens];
      for (size_t part = 0; part < parts.count; ++part) {
        std::fill_n(sums, kTokens, 0.0f);
        const size_t end = input_blocks(parts.ends[part]);
        for (size_t b = input_blocks(begin_of(parts, part)); b < end; ++b) {
          int codes[kInputBlock];
          row.codes(b, codes);
          for (size_t t = 0; t < tokens; ++t) {
            sums[t] = add_block(row, scales, b, codes, a.inputs[(token + t) * blocks + b], sums[t]);
          }
        }
        joined.join(parts, part, sums);
      }
      for (size_t t = 0; t < tokens; ++t) {
        float* out = a.outputs + (token + t) * a.output_stride + r;
        const float value = a.bias == nullptr ? sums[t] : sums[t] + a.bias[r];
        *out = a.accumulate ? *out + value : value;
      }
    }
  }
}

}  // namespace deepserve::kernels
