#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/random_bits.h"

namespace deepserve::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kBlocks = 1024;

__global__ void fill_kernel(uint16_t* out, uint64_t count, uint32_t seed) {
  begin_in_turn();
  for (uint64_t i = uint64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += kBlocks * kThreads) {
    uint64_t bits = (i + 1) * 0x9e3779b97f4a7c15 + seed;
    bits = (bits ^ bits >> 31) * 0xbf58476d1ce4e5b9;
    const auto value = static_cast<float>(static_cast<int32_t>(bits >> 32)) * 0x1p-31f;
    out[i] = static_cast<uint16_t>(pack_bf16(value, 0));
  }
}

}  // namespace

cudaError_t fill_random_bf16(uint16_t* out, uint64_t count, uint32_t seed, cudaStream_t stream) {
  return launch_kernel({{kBlocks, 1, 1}, {kThreads, 1, 1}, 0, stream}, fill_kernel, out, count, seed);
}

}  // namespace deepserve::kernels::cuda
