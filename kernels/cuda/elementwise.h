// What is done to each token's row between the matrix products. All pointers are device memory; every
// function puts one kernel into `stream` and returns what came of that. A row's results depend on that row
// alone, in an order that its width fixes (DESIGN 8).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/matrix.h"
#include "kernels/cuda/sampling.h"

namespace deepserve::kernels::cuda {

// out[t] = row tokens[t] of `table`, float32; or of the token that was drawn as number tokens[t] -
// kDrawnToken, if that is not negative: row 0 where that is no token, as of a row at fault.
inline constexpr uint32_t kDrawnToken = uint32_t{1} << 31;
struct EmbedArguments {
  DeviceMatrix table;                  // [vocabulary, width]
  const uint32_t* tokens;              // [count], below the table's rows, or from kDrawnToken on
  const RankedLogit* drawn = nullptr;  // SamplingArguments::tokens, of an earlier draw
  uint32_t count;
  float* out;  // [count, width]
};
cudaError_t embed(const EmbedArguments& arguments, cudaStream_t stream);

// out[i] = x[rows[i]] / sqrt(mean(x[rows[i]]^2) + epsilon) * weight, rounded to bf16, zeros up to out_stride;
// or in float32.
struct RmsNormArguments {
  const float* x;                  // [.., width]
  const uint32_t* rows = nullptr;  // [count]; nullptr: 0, 1, 2, ...
  const float* weight;             // [width]
  float epsilon;
  uint32_t width;
  uint32_t count;
  uint16_t* out_bf16 = nullptr;  // [count, out_stride]; one of the two
  float* out_float = nullptr;
  uint32_t out_stride;  // elements
};
cudaError_t rms_norm(const RmsNormArguments& arguments, cudaStream_t stream);

// out[t][r] = bias[r], or += where `add`: what a product by a library is added to.
struct BiasArguments {
  const float* bias;  // [rows]
  uint32_t rows;
  uint32_t count;
  float* out;           // [count, out_stride]
  uint32_t out_stride;  // elements
  bool add;
};
cudaError_t put_bias(const BiasArguments& arguments, cudaStream_t stream);

// out[t][i] = silu(gate + bias) * (up + bias) of a product in the order of Epilogue::kSwiglu (matmul.h),
// rounded to bf16; zeros behind.
struct SwigluArguments {
  const float* gate_and_up;  // [count, rows]
  const float* bias;         // [rows] or none
  uint32_t rows;
  uint32_t count;
  uint16_t* out;        // [count, out_stride]
  uint32_t out_stride;  // elements
};
cudaError_t swiglu(const SwigluArguments& arguments, cudaStream_t stream);

// cosines[t][i], sines[t][i] of positions[t] * frequencies[i], times `factor`; angles in float64.
struct RopeAnglesArguments {
  const uint32_t* positions;  // [count]
  const double* frequencies;  // [pairs], radians a position
  double factor;
  uint32_t pairs;
  uint32_t count;
  float* cosines;  // [count, pairs]
  float* sines;
};
cudaError_t rope_angles(const RopeAnglesArguments& arguments, cudaStream_t stream);

// Of each token: its query heads normalised (where there is a weight) and rotated, to binary16; its key heads
// likewise and its values as they are, to their place in the KV cache, in binary16.
//
// A block of the cache holds [layers][2: keys, values][kv_heads][block_tokens][head_dim] binary16.
struct RopeStoreArguments {
  const float* qkv;                   // [count, (heads + 2 * kv_heads) * head_dim]
  const float* query_norm = nullptr;  // [head_dim] or none, and the keys'
  const float* key_norm = nullptr;
  float epsilon;
  const float* cosines;  // [count, pairs]
  const float* sines;
  uint32_t pairs;       // the first 2 * pairs elements of a head are rotated
  bool adjacent_pairs;  // (2i, 2i + 1); else (i, i + pairs)
  uint32_t heads;
  uint32_t kv_heads;
  uint32_t head_dim;          // at most 256
  const uint32_t* positions;  // [count]
  const uint32_t* block_of;   // [count] block of the cache that the token's position is in
  uint32_t block_tokens;
  uint16_t* cache;      // of block 0
  size_t block_stride;  // elements
  size_t layer_offset;  // elements
  uint32_t count;
  uint16_t* queries;  // [count, heads, head_dim] binary16
};
cudaError_t rope_and_store(const RopeStoreArguments& arguments, cudaStream_t stream);

}  // namespace deepserve::kernels::cuda
