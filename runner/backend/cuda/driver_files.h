// What NVIDIA's driver library opens anew for each mapping of memory and each thread that it makes.
#pragma once

#include "runner/backend/device_files.h"

namespace deepserve::runner::cuda {

// Of those that are there, beneath `root`.
DeviceFiles driver_files(const std::filesystem::path& root);
inline DeviceFiles driver_files() {
  return driver_files("/");
}

}  // namespace deepserve::runner::cuda
