// The reference kernels: plain loops, the order of every sum written out. Slow on purpose, right by
// inspection.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/dequantize.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/packed_matmul.h"

namespace deepserve::kernels {
namespace {

constexpr size_t kLanes = 8;
constexpr size_t kGroup = 256;  // elements dequantised at a time: a multiple of every format's block

// Eight partial sums, element i into lane i % 8, joined as a tree: the shape that vector code has too.
struct LaneSum {
  float lanes[kLanes] = {};

  // `first`: how many elements came before.
  void add_products(const float* a, const float* b, size_t size, size_t first = 0) {
    for (size_t i = 0; i < size; ++i) lanes[(first + i) % kLanes] += a[i] * b[i];
  }
  float total() const {
    const float s0 = lanes[0] + lanes[4], s1 = lanes[1] + lanes[5];
    const float s2 = lanes[2] + lanes[6], s3 = lanes[3] + lanes[7];
    return (s0 + s2) + (s1 + s3);
  }
};

struct Adder {
  using Type = float;
  static float add(float a, float b) { return a + b; }
};

constexpr size_t kTokens = 16;  // of one pass over a row; changes no sum

// sums[t] += the products of a row's columns [begin, end) with the inputs of token + t.
void add_part(const MatmulArguments& a, size_t row, size_t begin, size_t end, size_t token, size_t tokens,
              LaneSum* sums) {
  const WeightFormat& format = weight_format(a.weights.type);
  const uint8_t* weights = a.weights.data + row * a.weights.row_bytes;
  for (size_t group = begin / kGroup * kGroup; group < end; group += kGroup) {
    const size_t group_end = std::min(group + kGroup, a.weights.columns);
    float values[kGroup];
    dequantize_row(a.weights.type, weights + group / format.block_elements * format.block_bytes,
                   group_end - group, values);
    const size_t first = std::max(group, begin), size = std::min(group_end, end) - first;
    for (size_t t = 0; t < tokens; ++t) {
      sums[t].add_products(values + (first - group), a.inputs + (token + t) * a.input_stride + first, size,
                           first - begin);
    }
  }
}

void matmul(const MatmulArguments& a) {
  const ColumnParts parts = written_out(a.parts, a.weights.columns);
  for (size_t row = a.row_begin; row < a.row_end; ++row) {
    for (size_t token = 0; token < a.tokens; token += kTokens) {
      const size_t tokens = std::min(kTokens, a.tokens - token);
      PartSums<Adder, kTokens> joined;
      float totals[kTokens] = {};
      for (size_t part = 0; part < parts.count; ++part) {
        LaneSum sums[kTokens];
        add_part(a, row, begin_of(parts, part), parts.ends[part], token, tokens, sums);
        for (size_t t = 0; t < tokens; ++t) totals[t] = sums[t].total();
        joined.join(parts, part, totals);
      }
      for (size_t t = 0; t < tokens; ++t) {
        float* out = a.outputs + (token + t) * a.output_stride + row;
        const float value = a.bias == nullptr ? totals[t] : totals[t] + a.bias[row];
        *out = a.accumulate ? *out + value : value;
      }
    }
  }
}

void rms_norm(const float* x, const float* weight, float epsilon, size_t size, float* out) {
  LaneSum sum;
  sum.add_products(x, x, size);
  const float scale = 1.0f / std::sqrt(sum.total() / static_cast<float>(size) + epsilon);
  for (size_t i = 0; i < size; ++i) out[i] = x[i] * scale * weight[i];
}

void rope(float* head, const float* cosines, const float* sines, size_t rotated, RopeStyle style) {
  const size_t pairs = rotated / 2;
  const bool adjacent = style == RopeStyle::kAdjacentPairs;
  for (size_t i = 0; i < pairs; ++i) {
    float& first = head[adjacent ? 2 * i : i];
    float& second = head[adjacent ? 2 * i + 1 : i + pairs];
    const float x = first, y = second;
    first = x * cosines[i] - y * sines[i];
    second = x * sines[i] + y * cosines[i];
  }
}

void silu_multiply(float* gate, const float* up, size_t size) {
  for (size_t i = 0; i < size; ++i) gate[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

constexpr Kernels kScalar = {
    "scalar", dequantize_row, matmul,        scalar_attention,       scalar_store_kv,
    rms_norm, rope,           silu_multiply, scalar_quantize_inputs, scalar_packed_matmul};

}  // namespace

const Kernels& scalar_kernels() {
  return kScalar;
}

}  // namespace deepserve::kernels
