#include "runner/backend/cuda/gpu.h"

#include <algorithm>

#include "runner/backend/cuda/cuda_result.h"

namespace deepserve::runner::cuda {
namespace {

constexpr int kArchitectures[] = {DEEPSERVE_CUDA_MACHINE_CODE};

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

Result<void> check_driver() {
  int driver = 0, runtime = 0;
  TRY(checked(cudaDriverGetVersion(&driver), "the driver's version"));
  TRY(checked(cudaRuntimeGetVersion(&runtime), "the runtime's version"));
  if (driver == 0) return fail(Code::kInvalidConfig, "no NVIDIA driver is loaded on this host");
  // Minor versions of one major are compatible (CUDA Compatibility, "minor version compatibility").
  if (driver / 1000 < runtime / 1000) {
    return fail(Code::kInvalidConfig,
                "the driver knows CUDA up to {}, this program needs {}: update the driver",
                version_text(driver), version_text(runtime / 1000 * 1000));
  }
  return {};
}

}  // namespace

std::span<const int> built_architectures() {
  return kArchitectures;
}

bool runs_on(std::span<const int> architectures, int capability) {
  return std::any_of(architectures.begin(), architectures.end(),
                     [&](int built) { return built / 10 == capability / 10 && built <= capability; });
}

Result<Gpu> open_gpu() {
  TRY(check_driver());
  int count = 0;
  TRY(checked(cudaGetDeviceCount(&count), "looking for a GPU"));
  TRY(checked(cudaSetDevice(0), "opening the GPU"));
  cudaDeviceProp properties{};
  TRY(checked(cudaGetDeviceProperties(&properties, 0), "the GPU's properties"));
  Gpu gpu;
  gpu.name = properties.name;
  gpu.capability = properties.major * 10 + properties.minor;
  if (!runs_on(built_architectures(), gpu.capability)) {
    return fail(
        Code::kInvalidConfig,
        "{} has compute capability {}.{}, for which this program has no machine code: it has it for {}",
        gpu.name, properties.major, properties.minor, fmt::join(built_architectures(), ", "));
  }
  size_t free_bytes = 0, total_bytes = 0;
  TRY(checked(cudaMemGetInfo(&free_bytes, &total_bytes), "the GPU's memory"));
  gpu.free_bytes = free_bytes;
  gpu.total_bytes = total_bytes;
  gpu.multiprocessors = static_cast<uint32_t>(properties.multiProcessorCount);
  gpu.block_shared_bytes = properties.sharedMemPerBlockOptin;
  return gpu;
}

}  // namespace deepserve::runner::cuda
