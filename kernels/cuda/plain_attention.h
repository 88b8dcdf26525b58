// Attention in the plainest way, one query head a thread's block: right, and slow.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace deepserve::kernels::cuda {

// Of some tokens of one sequence; token i sees position + i + 1 positions.
struct PlainAttentionArguments {
  const uint16_t* queries;  // binary16 [tokens, heads, head_dim], rotated
  uint32_t tokens;
  uint32_t position;  // of the first token
  uint32_t heads;
  uint32_t kv_heads;
  uint32_t head_dim;
  const uint16_t* cache;  // rope_and_store's
  size_t block_stride;    // elements
  size_t layer_offset;    // elements
  uint32_t block_tokens;
  const uint32_t* blocks;  // device memory, in order of position
  uint16_t* out;           // bf16 [tokens, out_stride]
  uint32_t out_stride;
};
cudaError_t plain_attention(const PlainAttentionArguments& arguments, cudaStream_t stream);

}  // namespace deepserve::kernels::cuda
