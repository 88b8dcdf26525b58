// Starts a kernel and says what came of starting it; what comes of running it is said by who waits.
//
// Every kernel that is started here calls wait_for_kernels_before() in all of its threads, most of them by
// begin_in_turn(): one that ended without would let the next one begin before those ahead of it have ended.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

#include "kernels/cuda/overlap.h"

namespace deepserve::kernels::cuda {

struct LaunchShape {
  dim3 blocks;
  dim3 threads;
  size_t shared_bytes = 0;
  cudaStream_t stream;
};

template <typename... Parameters, typename... Arguments>
cudaError_t launch_kernel(const LaunchShape& shape, void (*kernel)(Parameters...), Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = shape.blocks;
  config.blockDim = shape.threads;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  cudaLaunchAttribute overlaps{};
  overlaps.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlaps.val.programmaticStreamSerializationAllowed = 1;
  if (kernels_may_overlap()) {
    config.attrs = &overlaps;
    config.numAttrs = 1;
  }
  return cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
}

}  // namespace deepserve::kernels::cuda
