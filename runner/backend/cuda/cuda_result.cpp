#include "runner/backend/cuda/cuda_result.h"

namespace deepserve::runner::cuda {
namespace {

Code code_of(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return Code::kOutOfMemory;
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
    case cudaErrorNoKernelImageForDevice:
      return Code::kInvalidConfig;
    default:
      return Code::kDeviceFault;
  }
}

}  // namespace

Result<void> checked(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return {};
  cudaGetLastError();  // it has been told: the next call starts clean, unless the context is gone
  Error told;
  told.code = code_of(error);
  told.message = fmt::format("{}: CUDA error {}, {} ({})", what, static_cast<int>(error),
                             cudaGetErrorString(error), cudaGetErrorName(error));
  if (told.code == Code::kDeviceFault) told.device_error = static_cast<int>(error);
  return tl::unexpected<Error>(std::move(told));
}

}  // namespace deepserve::runner::cuda
