// The kinds of device that this program computes on, by their names in the configuration: "cpu", and "cuda"
// where it was built with CUDA.
#pragma once

#include <string_view>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"
#include "runner/backend/device_limits.h"

namespace deepserve::runner {

struct DeviceKind {
  BackendMaker make;
  // Takes hold of the device, before the process enters its sandbox: kInvalidConfig says why it cannot.
  // `allow_jit`: as BackendOptions has it.
  Result<void> (*open)(bool allow_jit);
  // nullptr: it is the host.
  Result<DeviceLimits> (*measure_limits)();
};

// kInvalidConfig: there is no such kind; kNotSupported: this program was built without it.
Result<DeviceKind> device_kind(std::string_view name);

}  // namespace deepserve::runner
