// The sum of what the ranks of one model computed, each of some columns (runner/collective/nccl moves it).
//
// Added by the tree of runner/collective/collective.h: the sum of ranks [b, e) is that of [b, m) plus that of
// [m, e) with m = b + (e - b) / 2. So the bits are the same on every rank, in one round or in two, and the
// same as those of ranks that exchange over shared memory.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace deepserve::kernels::cuda {

inline constexpr uint32_t kSumRanksMax = 16;

struct RankSumArguments {
  const float* parts;          // rank r's values from r * stride on
  size_t stride;               // elements
  const float* own = nullptr;  // where those of `rank` are instead, or nullptr
  uint32_t rank = 0;
  uint32_t ranks;               // 1 to kSumRanksMax
  size_t count;                 // values of each
  float* out;                   // [count]; may be `parts` or `own`
  bool add = false;             // out += sum + bias, else out = sum + bias
  const float* bias = nullptr;  // [width], for every row of `width` values, or nullptr
  uint32_t width = 0;
};

// cudaErrorInvalidValue: a number of ranks that is out of bounds.
cudaError_t rank_sum(const RankSumArguments& arguments, cudaStream_t stream);

}  // namespace deepserve::kernels::cuda
