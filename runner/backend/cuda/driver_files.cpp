#include "runner/backend/cuda/driver_files.h"

#include <algorithm>
#include <string>

namespace deepserve::runner::cuda {
namespace {

// "nvidia0", "nvidia1", ...
bool is_gpu(const std::string& name) {
  constexpr std::string_view kStem = "nvidia";
  return name.starts_with(kStem) && name.size() > kStem.size() &&
         std::all_of(name.begin() + kStem.size(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

DeviceFiles driver_files(const std::filesystem::path& root) {
  DeviceFiles files;
  std::error_code ignored;
  const auto add = [&](std::vector<std::filesystem::path>& to, std::string_view path) {
    if (std::filesystem::exists(root / path, ignored)) to.push_back(root / path);
  };
  // A mapping opens the control device or the GPU's own, and closes it again.
  for (const char* path : {"dev/nvidiactl", "dev/nvidia-uvm", "dev/nvidia-uvm-tools"}) {
    add(files.writable, path);
  }
  for (const auto& entry : std::filesystem::directory_iterator(root / "dev", ignored)) {
    if (is_gpu(entry.path().filename().string())) files.writable.push_back(entry.path());
  }
  std::sort(files.writable.begin(), files.writable.end());
  add(files.writable, "proc/self/task");  // its threads are given names
  for (const char* path :
       {"proc/driver/nvidia", "proc/driver/nvidia-uvm", "proc/self/maps", "sys/devices/system/node"}) {
    add(files.readable, path);
  }
  return files;
}

}  // namespace deepserve::runner::cuda
