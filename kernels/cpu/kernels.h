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

#include "kernels/cpu/weight_format.h"

namespace deepserve::kernels {

// Part of numerics_id: raise it whenever a kernel may give other bits than before.
inline constexpr int kNumericsRevision = 2;

// Tokens per block of the paged KV cache; the softmax advances in steps of this many absolute positions.
inline constexpr size_t kBlockTokens = 16;

// outputs[t][r] = dot(weights[r], inputs[t]) (+ bias[r]) for r in [row_begin, row_end), t in [0, tokens).
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
};

// The half of attention that belongs to one token and one query head:
// out = sum over positions p < context of softmax_p(scale * dot(query, key_p)) * value_p.
struct AttentionArguments {
  const float* query = nullptr;      // [head_dim], rotated
  const float* cache = nullptr;      // the whole KV cache
  const uint32_t* blocks = nullptr;  // [ceil(context / kBlockTokens)] block numbers, in order of position
  size_t block_stride = 0;           // elements from one block to the next
  size_t key_offset = 0;             // inside a block: keys [kBlockTokens, head_dim] of this layer and head
  size_t value_offset = 0;           // and its values, same shape
  size_t context = 0;                // positions to look at, at least 1
  size_t head_dim = 0;
  float scale = 0;
  float* out = nullptr;  // [head_dim]
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
  void (*attention)(const AttentionArguments& arguments);
  // out[i] = x[i] / sqrt(mean(x^2) + epsilon) * weight[i]; out may be x.
  void (*rms_norm)(const float* x, const float* weight, float epsilon, size_t size, float* out);
  // Rotates the first `rotated` elements (even) of one head in place; cosines, sines: [rotated / 2].
  void (*rope)(float* head, const float* cosines, const float* sines, size_t rotated, RopeStyle style);
  // gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i]
  void (*silu_multiply)(float* gate, const float* up, size_t size);
};

// The table for `isa`; "" is the best that this CPU has. nullptr: not built in, or this CPU lacks it.
const Kernels* find_kernels(std::string_view isa);

const Kernels& scalar_kernels();

}  // namespace deepserve::kernels
