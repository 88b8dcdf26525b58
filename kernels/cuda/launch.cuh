// Starts a kernel and says what came of starting it; what comes of running it is said by who waits.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

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
  return cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
}

}  // namespace deepserve::kernels::cuda
