// Files that a device's driver opens while the device is at work, not only when it is opened: what a sandbox
// has to leave open.
#pragma once

#include <filesystem>
#include <vector>

namespace deepserve::runner {

struct DeviceFiles {
  std::vector<std::filesystem::path> readable;
  std::vector<std::filesystem::path> writable;  // and readable
};

}  // namespace deepserve::runner
