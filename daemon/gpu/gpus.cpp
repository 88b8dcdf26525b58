#include "daemon/gpu/gpus.h"

#include <algorithm>
#include <charconv>

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

const GpuIdentity* GpuInventory::named(std::string_view name) const {
  uint32_t index = 0;
  const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), index);
  const bool is_index = problem == std::errc() && end == name.data() + name.size();
  return is_index ? find(index) : find(name);
}

}  // namespace deepserve::daemon
