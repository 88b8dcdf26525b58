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

double gib(uint64_t bytes) {
  return static_cast<double>(bytes) / kGiB;
}

// Of all devices on one GPU, this one's and those before it.
std::vector<GpuFinding> check_memory(const DeviceConfig& device, std::span<const DeviceConfig> others,
                                     const GpuIdentity& gpu) {
  if (gpu.memory_bytes == 0 || device.memory_limit_bytes == 0) return {};
  const std::string has =
      fmt::format("the {:.2f} GiB that GPU {} ({}) has", gib(gpu.memory_bytes), gpu.index, gpu.name);
  if (device.memory_limit_bytes > gpu.memory_bytes) {
    return {{"memory_limit", true,
             fmt::format("{:.2f} GiB is more than {}", gib(device.memory_limit_bytes), has)}};
  }
  uint64_t sum = device.memory_limit_bytes;
  std::string names;
  for (const auto& other : others) {
    if (other.gpu != device.gpu || other.memory_limit_bytes == 0) continue;
    sum += other.memory_limit_bytes;
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", other.name);
  }
  if (sum <= gpu.memory_bytes) return {};
  return {{"memory_limit", false,
           fmt::format(
               "with {} the limits are {:.2f} GiB together, more than {}: where each takes what it may, the "
               "last one to load is refused",
               names, static_cast<double>(sum) / kGiB, has)}};
}

}  // namespace

std::vector<GpuFinding> check_gpu(const DeviceConfig& device, std::span<const DeviceConfig> others,
                                  const Result<GpuInventory>& gpus) {
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
  for (auto& finding : check_memory(device, others, *gpu)) findings.push_back(std::move(finding));
  return findings;
}

}  // namespace deepserve::daemon
