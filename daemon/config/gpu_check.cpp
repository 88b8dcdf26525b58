#include "daemon/config/gpu_check.h"

#include <algorithm>

namespace deepserve::daemon {
namespace {

constexpr double kGiB = 1ull << 30;

std::string list_of(const GpuInventory& gpus) {
  std::string list;
  for (const auto& gpu : gpus.gpus) {
    list += fmt::format("{}{}{}{}{}{}", list.empty() ? "" : ", ", gpu.index, gpu.uuid.empty() ? "" : " ",
                        gpu.uuid, gpu.name.empty() ? "" : " ", gpu.name);
  }
  return list.empty() ? "there is none here" : "there are: " + list;
}

std::string cuda_text(uint32_t version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace

std::vector<GpuFinding> check_gpu(const DeviceConfig& device, const Result<GpuInventory>& gpus) {
  const auto unchecked = [](std::string why) {
    return std::vector<GpuFinding>{{"gpu", false, "cannot be checked: " + std::move(why)}};
  };
  if (!gpus) return unchecked(gpus.error().message);
  const GpuIdentity* gpu = gpus->named(device.gpu);
  if (gpu == nullptr) {
    // A GPU that is lost has no UUID to be found by.
    const bool one_is_lost =
        std::any_of(gpus->gpus.begin(), gpus->gpus.end(), [](const auto& one) { return one.uuid.empty(); });
    if (one_is_lost && device.gpu.starts_with("GPU-"))
      return unchecked("a GPU does not answer, and may be this one");
    return {{"gpu", true, fmt::format("there is no GPU {}; {}", device.gpu, list_of(*gpus))}};
  }
  if (gpu->uuid.empty()) return unchecked(fmt::format("GPU {} does not answer", gpu->index));
  if (gpus->cuda_version == 0) return unchecked("its driver does not say which CUDA it runs");
  std::vector<GpuFinding> findings;
  if (gpus->cuda_version < kCudaNeeded) {
    findings.push_back(
        {"gpu", true,
         fmt::format("the NVIDIA driver {} is too old: it runs CUDA {}, and {} is needed",
                     gpus->driver_version, cuda_text(gpus->cuda_version), cuda_text(kCudaNeeded))});
  }
  if (gpu->memory_bytes != 0 && device.memory_limit_bytes > gpu->memory_bytes) {
    findings.push_back({"memory_limit", true,
                        fmt::format("{:.2f} GiB is more than the {:.2f} GiB that GPU {} ({}) has",
                                    static_cast<double>(device.memory_limit_bytes) / kGiB,
                                    static_cast<double>(gpu->memory_bytes) / kGiB, gpu->index, gpu->name)});
  }
  return findings;
}

}  // namespace deepserve::daemon
