#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/rank_sum.h"

namespace deepserve::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kDepth = 4;  // of the tree at the most
static_assert(kSumRanksMax <= 1u << kDepth);

__device__ float part(const RankSumArguments& arguments, uint32_t rank, size_t index) {
  if (arguments.own != nullptr && rank == arguments.rank) return arguments.own[index];
  return arguments.parts[rank * arguments.stride + index];
}

// Of ranks [first, end), which a tree of this depth holds.
template <unsigned kLevels>
__device__ float tree_sum(const RankSumArguments& arguments, uint32_t first, uint32_t end, size_t index) {
  if constexpr (kLevels == 0) {
    return part(arguments, first, index);
  } else {
    if (end - first == 1) return part(arguments, first, index);
    const uint32_t middle = first + (end - first) / 2;
    const float left = tree_sum<kLevels - 1>(arguments, first, middle, index);
    return left + tree_sum<kLevels - 1>(arguments, middle, end, index);
  }
}

__global__ void rank_sum_kernel(const RankSumArguments arguments) {
  begin_in_turn();
  const size_t i = size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= arguments.count) return;
  float sum = tree_sum<kDepth>(arguments, 0, arguments.ranks, i);
  if (arguments.bias != nullptr) sum += arguments.bias[i % arguments.width];
  arguments.out[i] = arguments.add ? arguments.out[i] + sum : sum;
}

}  // namespace

cudaError_t rank_sum(const RankSumArguments& arguments, cudaStream_t stream) {
  if (arguments.ranks == 0 || arguments.ranks > kSumRanksMax) return cudaErrorInvalidValue;
  const auto blocks = static_cast<unsigned>((arguments.count + kThreads - 1) / kThreads);
  return launch_kernel({{blocks, 1, 1}, {kThreads, 1, 1}, 0, stream}, rank_sum_kernel, arguments);
}

}  // namespace deepserve::kernels::cuda
