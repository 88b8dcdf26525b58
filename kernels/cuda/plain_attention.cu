#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/plain_attention.h"
#include "kernels/cuda/ptx.cuh"

namespace deepserve::kernels::cuda {
namespace {

constexpr unsigned kThreads = 32;
constexpr unsigned kElementsMax = 8;  // of a head of 256, for each thread

__device__ float sum_of_warp(float value) {
  for (unsigned mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// blockIdx.x: token; blockIdx.y: query head. The softmax advances position by position.
__global__ void plain_attention_kernel(const PlainAttentionArguments arguments) {
  const uint32_t token = blockIdx.x, head = blockIdx.y, head_dim = arguments.head_dim;
  const uint32_t kv_head = head / (arguments.heads / arguments.kv_heads);
  const uint16_t* query = arguments.queries + (size_t{token} * arguments.heads + head) * head_dim;
  const size_t part = size_t{arguments.kv_heads} * arguments.block_tokens * head_dim;
  float q[kElementsMax] = {}, out[kElementsMax] = {};
  for (unsigned i = 0; i < kElementsMax; ++i) {
    const unsigned at = threadIdx.x + kThreads * i;
    if (at < head_dim) q[i] = f16_to_float(query[at]);
  }
  const float scale = 1.0f / sqrtf(static_cast<float>(head_dim));
  float largest = -INFINITY, sum = 0;
  for (uint32_t p = 0; p <= arguments.position + token; ++p) {
    const size_t slot = size_t{kv_head} * arguments.block_tokens + p % arguments.block_tokens;
    const uint16_t* key = arguments.cache +
                          arguments.blocks[p / arguments.block_tokens] * arguments.block_stride +
                          arguments.layer_offset + slot * head_dim;
    float score = 0;
    for (unsigned i = 0; i < kElementsMax; ++i) {
      const unsigned at = threadIdx.x + kThreads * i;
      if (at < head_dim) score += q[i] * f16_to_float(key[at]);
    }
    score = sum_of_warp(score) * scale;
    const float before = largest;
    largest = score > largest ? score : largest;
    const float kept = expf(before - largest), weight = expf(score - largest);
    sum = sum * kept + weight;
    for (unsigned i = 0; i < kElementsMax; ++i) {
      const unsigned at = threadIdx.x + kThreads * i;
      if (at < head_dim) out[i] = out[i] * kept + weight * f16_to_float(key[part + at]);
    }
  }
  uint16_t* to = arguments.out + size_t{token} * arguments.out_stride + head * head_dim;
  for (unsigned i = 0; i < kElementsMax; ++i) {
    const unsigned at = threadIdx.x + kThreads * i;
    if (at < head_dim) to[at] = static_cast<uint16_t>(pack_bf16(out[i] / sum, 0));
  }
}

}  // namespace

cudaError_t plain_attention(const PlainAttentionArguments& arguments, cudaStream_t stream) {
  return launch_kernel({{arguments.tokens, arguments.heads, 1}, {kThreads, 1, 1}, 0, stream},
                       plain_attention_kernel, arguments);
}

}  // namespace deepserve::kernels::cuda
