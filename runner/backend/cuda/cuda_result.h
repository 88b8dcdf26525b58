// What CUDA's runtime said, as a Result.
#pragma once

#include <cuda_runtime.h>

#include <string_view>

#include "ipc/base/result.h"

namespace deepserve::runner::cuda {

// kOutOfMemory: the GPU's memory is not to be had. kInvalidConfig: the driver is too old, or there is no such
// GPU. kDeviceFault with CUDA's number: everything else, as a rule the end of this process's context.
Result<void> checked(cudaError_t error, std::string_view what);

// What came of putting a kernel into a stream; what comes of running it is said by who waits.
inline Result<void> launched(cudaError_t error) {
  return checked(error, "starting a kernel");
}

}  // namespace deepserve::runner::cuda
