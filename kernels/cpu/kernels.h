// The CPU kernels: one table of functions per instruction set, chosen once at run time.
//
// Batch invariance (DESIGN 8): every output element comes from one reduction whose order depends only on the
// length of the row (or, for attention, on absolute positions). How many tokens or rows one call covers never
// changes a bit. Between instruction sets results differ in the last bits.
//
// All numbers are float32 unless said otherwise; sizes count elements, not bytes. Kernels allocate nothing,
// are thread-safe, and write only their outputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/cpu/column_parts.h"
#include "kernels/cpu/kv_format.h"
#include "kernels/cpu/packed_matrix.h"
#include "kernels/cpu/quantized_inputs.h"
#include "kernels/cpu/weight_format.h"

namespace deepserve::kernels {

// Part of numerics_id: raise it whenever a kernel may give other bits than before.
inline constexpr int kNumericsRevision = 7;

// outputs[t][r] = dot(weights[r], inputs[t]) (+ bias[r]) for r in [row_begin, row_end), t in [0, tokens). The
// order of a part's sum (column_parts.h) depends on its length alone.
struct MatmulArguments {
  Matrix weights;  // [rows, columns]
  size_t row_begin = 0;
  size_t row_end = 0;
  const float* inputs = nullptr;  // [tokens, columns], rows `input_stride` apart
  size_t input_stride = 0;
  size_t tokens = 0;
  float* outputs = nullptr;  // [tokens, rows], rows `output_stride` apart
  size_t output_stride = 0;
  const float* bias = nullptr;  // [rows] or none
  bool accumulate = false;      // outputs += instead of =
  ColumnParts parts;
};

// Attention of some tokens of one sequence, for the query heads that share one KV head. For each token and
// head out = sum over positions p < context of softmax_p(scale * dot(query, key_p)) * value_p, where token i
// sees position + i + 1 positions.
struct AttentionArguments {
  const float* queries = nullptr;  // [tokens, heads, head_dim], rotated; tokens `query_stride` apart
  size_t query_stride = 0;
  size_t tokens = 0;
  size_t heads = 0;
  size_t position = 0;  // of the first token
  size_t head_dim = 0;
  float scale = 0;
  KvType kv_type = KvType::kF32;
  const uint8_t* cache = nullptr;    // the whole KV cache
  const uint32_t* blocks = nullptr;  // block numbers in order of position, up to that of the last token
  size_t block_stride = 0;           // bytes from one block to the next
  size_t key_offset = 0;             // bytes inside a block to this layer's and head's keys (kv_format.h)
  size_t value_offset = 0;
  float* out = nullptr;  // [tokens, heads, head_dim], tokens `out_stride` apart
  size_t out_stride = 0;
};

enum class RopeStyle : uint8_t {
  kAdjacentPairs,  // (x[2i], x[2i+1]): GGUF "llama"
  kHalves,         // (x[i], x[i + rotated/2]): "NEOX", Qwen
};

struct Kernels {
  const char* isa;  // "scalar", "avx2", "avx512"

  // Row of a weight matrix to float32: the same bits on every path (dequantize.h).
  void (*dequantize)(WeightType type, const uint8_t* row, size_t elements, float* out);
  void (*matmul)(const MatmulArguments& arguments);
  // Reads nothing beyond a token's own context. A query's result does not depend on the tokens and heads that
  // are asked for with it.
  void (*attention)(const AttentionArguments& arguments);
  // The same bits on every path.
  void (*store_kv)(const KvStoreArguments& arguments);
  // out[i] = x[i] / sqrt(mean(x^2) + epsilon) * weight[i]; out may be x.
  void (*rms_norm)(const float* x, const float* weight, float epsilon, size_t size, float* out);
  // Rotates the first `rotated` elements (even) of one head in place; cosines, sines: [rotated / 2].
  void (*rope)(float* head, const float* cosines, const float* sines, size_t rotated, RopeStyle style);
  // gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i]
  void (*silu_multiply)(float* gate, const float* up, size_t size);

  // One row of `columns` inputs to blocks of bytes (quantized_inputs.h), and what they are for: the same bits
  // on every path.
  void (*quantize_inputs)(const float* x, size_t columns, InputBlock* out);
  void (*packed_matmul)(const PackedMatmulArguments& arguments);
};

// The table for `isa`; "" is the best that this CPU has. nullptr: not built in, or this CPU lacks it.
const Kernels* find_kernels(std::string_view isa);

const Kernels& scalar_kernels();

}  // namespace deepserve::kernels
