// Whether the GPU that a [[device]] names is there and is enough for it, as far as its driver can be asked.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "daemon/config/config.h"

namespace deepserve::daemon {

// The oldest CUDA that a driver must run, as drivers number it: the one that runners are built with.
inline constexpr uint32_t kCudaNeeded = 13'000;

struct GpuFinding {
  std::string_view key;  // of the device, that it is about: "gpu" or "memory_limit"
  bool refuses = false;  // else it could not be checked, or may be wrong
  std::string text;      // in words, without the key
};

// `gpus`: what the driver says, or why it says nothing. Of one device at most one finding for each key.
// `others`: the devices before it in the file. Limits on one GPU that are together more than it has are no
// mistake while not all of them are used up: who finds no memory then says so before it loads.
std::vector<GpuFinding> check_gpu(const DeviceConfig& device, std::span<const DeviceConfig> others,
                                  const Result<GpuInventory>& gpus);

}  // namespace deepserve::daemon
