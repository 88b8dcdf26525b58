#include "runner/backend/cuda/gpu.h"

#include <stdlib.h>

#include <algorithm>
#include <array>

#include "kernels/cuda/overlap.h"
#include "runner/backend/cuda/cuda_result.h"

namespace deepserve::runner::cuda {
namespace {

// std::array: a build may have none of either.
template <typename... Numbers>
constexpr std::array<int, sizeof...(Numbers)> numbers(Numbers... of_all) {
  return {of_all...};
}
constexpr auto kArchitectures = numbers(DEEPSERVE_CUDA_MACHINE_CODE);
constexpr auto kPtxArchitectures = numbers(DEEPSERVE_CUDA_PTX);

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// The driver's version.
Result<int> check_driver() {
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
  return driver;
}

Error no_machine_code(const Gpu& gpu) {
  const bool could_compile = compiles_for(kPtxArchitectures, gpu.capability);
  return {
      Code::kInvalidConfig,
      fmt::format("{} has compute capability {}.{}, for which this program has no machine code: it has it "
                  "for {}; {}",
                  gpu.name, gpu.capability / 10, gpu.capability % 10, fmt::join(kArchitectures, ", "),
                  could_compile ? "its driver may compile the kernels where that is allowed: "
                                  "allow_jit = true in its [[device]], --allow-jit by hand"
                                : "nor has it PTX that its driver could compile for it (allow_jit)")};
}

}  // namespace

std::span<const int> built_architectures() {
  return kArchitectures;
}

std::span<const int> ptx_architectures() {
  return kPtxArchitectures;
}

bool compiles_for(std::span<const int> architectures, int capability) {
  return std::any_of(architectures.begin(), architectures.end(),
                     [capability](int built) { return built <= capability; });
}

bool runs_on(std::span<const int> architectures, int capability) {
  return std::any_of(architectures.begin(), architectures.end(),
                     [&](int built) { return built / 10 == capability / 10 && built <= capability; });
}

// Code for an older one has no instruction to wait by (ptx.cuh).
bool overlaps_on(std::span<const int> architectures, int capability) {
  return std::any_of(architectures.begin(), architectures.end(), [capability](int built) {
    return built >= kernels::cuda::kOverlapCapability && built <= capability;
  });
}

Result<Gpu> open_gpu(bool allow_jit) {
  // What is compiled or loaded later than here meets the sandbox: no cache, no compiler's library. Read when
  // the driver begins.
  if (allow_jit) setenv("CUDA_MODULE_LOADING", "EAGER", 1);
  TRY_ASSIGN(const int driver, check_driver());
  int count = 0;
  TRY(checked(cudaGetDeviceCount(&count), "looking for a GPU"));
  TRY(checked(cudaSetDevice(0), "opening the GPU"));
  cudaDeviceProp properties{};
  TRY(checked(cudaGetDeviceProperties(&properties, 0), "the GPU's properties"));
  Gpu gpu;
  gpu.name = properties.name;
  gpu.capability = properties.major * 10 + properties.minor;
  if (!runs_on(kArchitectures, gpu.capability)) {
    if (!allow_jit || !compiles_for(kPtxArchitectures, gpu.capability))
      return tl::unexpected<Error>(no_machine_code(gpu));
    gpu.jit_driver = driver;
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
