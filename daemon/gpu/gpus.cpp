#include "daemon/gpu/gpus.h"

#include <algorithm>

namespace deepserve::daemon {

const GpuIdentity* GpuInventory::find(uint32_t index) const {
  const auto found =
      std::find_if(gpus.begin(), gpus.end(), [&](const auto& gpu) { return gpu.index == index; });
  return found == gpus.end() ? nullptr : &*found;
}

const GpuIdentity* GpuInventory::find(std::string_view uuid) const {
  const auto found = std::find_if(gpus.begin(), gpus.end(),
                                  [&](const auto& gpu) { return !gpu.uuid.empty() && gpu.uuid == uuid; });
  return found == gpus.end() ? nullptr : &*found;
}

}  // namespace deepserve::daemon
