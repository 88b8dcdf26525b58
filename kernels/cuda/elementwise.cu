#include "kernels/cuda/block_sum.cuh"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/weight_load.cuh"

namespace deepserve::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kHeadThreads = 32;     // one warp a head
constexpr unsigned kLineFloats = 32;      // of a line of the caches
constexpr unsigned kHeadElementsMax = 8;  // of a head of 256, for each thread of its warp

__global__ void embed_kernel(const EmbedArguments arguments) {
  begin_in_turn();
  const uint32_t t = blockIdx.x, width = arguments.table.columns;
  uint32_t token = arguments.tokens[t];
  if (token >= kDrawnToken) {
    token = arguments.drawn[token - kDrawnToken].token;
    if (token >= arguments.table.rows) token = 0;
  }
  for (uint32_t i = threadIdx.x; i < width; i += kThreads) {
    arguments.out[size_t{t} * width + i] = weight_at(arguments.table, token, i);
  }
}

__global__ void rms_norm_kernel(const RmsNormArguments arguments) {
  __shared__ float scratch[kThreads / 32];
  let_next_kernel_begin();
  for (uint32_t i = threadIdx.x * kLineFloats; i < arguments.width; i += kThreads * kLineFloats)
    prefetch(arguments.weight + i);
  wait_for_kernels_before();
  const uint32_t row = arguments.rows != nullptr ? arguments.rows[blockIdx.x] : blockIdx.x;
  const float* x = arguments.x + size_t{row} * arguments.width;
  float sum = 0;
  for (uint32_t i = threadIdx.x; i < arguments.width; i += kThreads) sum += x[i] * x[i];
  const float mean = block_sum<kThreads>(sum, scratch) / static_cast<float>(arguments.width);
  const float scale = 1.0f / sqrtf(mean + arguments.epsilon);
  const size_t begin = size_t{blockIdx.x} * arguments.out_stride;
  if (arguments.out_float != nullptr) {
    for (uint32_t i = threadIdx.x; i < arguments.width; i += kThreads) {
      arguments.out_float[begin + i] = x[i] * scale * arguments.weight[i];
    }
    return;
  }
  auto* out = reinterpret_cast<uint32_t*>(arguments.out_bf16 + begin);
  for (uint32_t pair = threadIdx.x; pair < arguments.out_stride / 2; pair += kThreads) {
    float values[2];
    for (unsigned i = 0; i < 2; ++i) {
      const uint32_t at = 2 * pair + i;
      values[i] = at < arguments.width ? x[at] * scale * arguments.weight[at] : 0.0f;
    }
    out[pair] = pack_bf16(values[0], values[1]);
  }
}

__global__ void put_bias_kernel(const BiasArguments arguments) {
  begin_in_turn();
  float* out = arguments.out + size_t{blockIdx.x} * arguments.out_stride;
  for (uint32_t i = threadIdx.x; i < arguments.rows; i += kThreads) {
    out[i] = arguments.add ? out[i] + arguments.bias[i] : arguments.bias[i];
  }
}

__global__ void swiglu_kernel(const SwigluArguments arguments) {
  begin_in_turn();
  const float* from = arguments.gate_and_up + size_t{blockIdx.x} * arguments.rows;
  uint16_t* out = arguments.out + size_t{blockIdx.x} * arguments.out_stride;
  for (uint32_t i = threadIdx.x; i < arguments.out_stride; i += kThreads) {
    const uint32_t gate = i / kGateRows * kTileRows + i % kGateRows, up = gate + kGateRows;
    float value = 0;
    if (up < arguments.rows) {
      const bool has_bias = arguments.bias != nullptr;
      const float x = from[gate] + (has_bias ? arguments.bias[gate] : 0.0f);
      value = x / (1.0f + expf(-x)) * (from[up] + (has_bias ? arguments.bias[up] : 0.0f));
    }
    out[i] = static_cast<uint16_t>(pack_bf16(value, 0));
  }
}

__global__ void rope_angles_kernel(const RopeAnglesArguments arguments) {
  begin_in_turn();
  const uint32_t t = blockIdx.x;
  for (uint32_t i = threadIdx.x; i < arguments.pairs; i += kHeadThreads) {
    const double angle = arguments.positions[t] * arguments.frequencies[i];
    const size_t at = size_t{t} * arguments.pairs + i;
    arguments.cosines[at] = static_cast<float>(cos(angle) * arguments.factor);
    arguments.sines[at] = static_cast<float>(sin(angle) * arguments.factor);
  }
}

// One head by one warp, through `head` in shared memory.
__device__ void prepare_head(const RopeStoreArguments& arguments, const float* from, const float* norm,
                             float* head) {
  const unsigned lane = threadIdx.x;
  float own[kHeadElementsMax];
  float sum = 0;
#pragma unroll
  for (unsigned i = 0; i < kHeadElementsMax; ++i) {
    const unsigned at = lane + 32 * i;
    own[i] = at < arguments.head_dim ? from[at] : 0.0f;
    sum += own[i] * own[i];
  }
  float scale = 1;
  if (norm != nullptr) {
    scale = 1.0f / sqrtf(warp_sum(sum) / static_cast<float>(arguments.head_dim) + arguments.epsilon);
  }
#pragma unroll
  for (unsigned i = 0; i < kHeadElementsMax; ++i) {
    const unsigned at = lane + 32 * i;
    if (at < arguments.head_dim) head[at] = norm != nullptr ? own[i] * scale * norm[at] : own[i];
  }
  __syncwarp();
}

// Element `at` of a prepared head, rotated.
__device__ float rotated(const RopeStoreArguments& arguments, const float* head, uint32_t token,
                         unsigned at) {
  const unsigned pairs = arguments.pairs;
  if (at >= 2 * pairs) return head[at];
  const bool adjacent = arguments.adjacent_pairs;
  const unsigned pair = adjacent ? at / 2 : at % pairs;
  const bool second = adjacent ? at % 2 != 0 : at >= pairs;
  const float a = head[adjacent ? 2 * pair : pair], b = head[adjacent ? 2 * pair + 1 : pair + pairs];
  const float c = arguments.cosines[size_t{token} * pairs + pair];
  const float s = arguments.sines[size_t{token} * pairs + pair];
  return second ? a * s + b * c : a * c - b * s;
}

// Where head `head` of the cache's keys (part 0) or values (part 1) has this token.
__device__ uint16_t* cached(const RopeStoreArguments& arguments, uint32_t token, unsigned part,
                            unsigned head) {
  const uint32_t slot = arguments.positions[token] % arguments.block_tokens;
  const size_t inside = ((size_t{part} * arguments.kv_heads + head) * arguments.block_tokens + slot);
  return arguments.cache + arguments.block_of[token] * arguments.block_stride + arguments.layer_offset +
         inside * arguments.head_dim;
}

// blockIdx.x: token; blockIdx.y: query heads, then key heads, then value heads.
__global__ void rope_and_store_kernel(const RopeStoreArguments arguments) {
  __shared__ float head[32 * kHeadElementsMax];
  begin_in_turn();
  const uint32_t token = blockIdx.x, index = blockIdx.y;
  const uint32_t heads = arguments.heads, kv_heads = arguments.kv_heads, head_dim = arguments.head_dim;
  const float* from = arguments.qkv + (size_t{token} * (heads + 2 * kv_heads) + index) * head_dim;
  const bool is_query = index < heads, is_value = index >= heads + kv_heads;
  prepare_head(arguments, from,
               is_value   ? nullptr
               : is_query ? arguments.query_norm
                          : arguments.key_norm,
               head);
  uint16_t* to = is_query
                     ? arguments.queries + (size_t{token} * heads + index) * head_dim
                     : cached(arguments, token, is_value ? 1 : 0, index - heads - (is_value ? kv_heads : 0));
  for (unsigned at = threadIdx.x; at < head_dim; at += kHeadThreads) {
    const float value = is_value ? head[at] : rotated(arguments, head, token, at);
    to[at] = static_cast<uint16_t>(pack_f16(value, 0));
  }
}

}  // namespace

cudaError_t embed(const EmbedArguments& arguments, cudaStream_t stream) {
  return launch_kernel({{arguments.count, 1, 1}, {kThreads, 1, 1}, 0, stream}, embed_kernel, arguments);
}

cudaError_t rms_norm(const RmsNormArguments& arguments, cudaStream_t stream) {
  return launch_kernel({{arguments.count, 1, 1}, {kThreads, 1, 1}, 0, stream}, rms_norm_kernel, arguments);
}

cudaError_t put_bias(const BiasArguments& arguments, cudaStream_t stream) {
  return launch_kernel({{arguments.count, 1, 1}, {kThreads, 1, 1}, 0, stream}, put_bias_kernel, arguments);
}

cudaError_t swiglu(const SwigluArguments& arguments, cudaStream_t stream) {
  return launch_kernel({{arguments.count, 1, 1}, {kThreads, 1, 1}, 0, stream}, swiglu_kernel, arguments);
}

cudaError_t rope_angles(const RopeAnglesArguments& arguments, cudaStream_t stream) {
  return launch_kernel({{arguments.count, 1, 1}, {kHeadThreads, 1, 1}, 0, stream}, rope_angles_kernel,
                       arguments);
}

cudaError_t rope_and_store(const RopeStoreArguments& arguments, cudaStream_t stream) {
  const unsigned rows = arguments.heads + 2 * arguments.kv_heads;
  return launch_kernel({{arguments.count, rows, 1}, {kHeadThreads, 1, 1}, 0, stream}, rope_and_store_kernel,
                       arguments);
}

}  // namespace deepserve::kernels::cuda
