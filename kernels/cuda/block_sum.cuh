// The sum of one value from each thread of a block, the same bits for all of them, in an order that depends
// on the number of threads alone.
#pragma once

#include "kernels/cuda/ptx.cuh"

namespace deepserve::kernels::cuda {

__device__ inline float warp_sum(float value) {
  for (unsigned mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// kThreads: of the block, a multiple of 32. `scratch`: shared memory, [kThreads / 32]; may be used again
// after the next barrier.
template <unsigned kThreads>
__device__ inline float block_sum(float value, float* scratch) {
  const float sum = warp_sum(value);
  if (lane_index() == 0) scratch[threadIdx.x / 32] = sum;
  __syncthreads();
  float total = 0;
  for (unsigned warp = 0; warp < kThreads / 32; ++warp) total += scratch[warp];
  return total;
}

}  // namespace deepserve::kernels::cuda
