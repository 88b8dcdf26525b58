// The kinds of device that this program computes on, by their names in the configuration: "cpu", and "cuda"
// where it was built with CUDA.
#pragma once

#include <memory>
#include <string_view>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"
#include "runner/backend/device_files.h"
#include "runner/backend/device_limits.h"

namespace deepserve::runner {

struct DeviceKind {
  BackendMaker make;
  // Takes hold of the device, before the process enters its sandbox: kInvalidConfig says why it cannot. Of a
  // rank of several, whose group is options.collective, also of the way to the others' devices: for
  // BackendOptions::nccl, or nullptr where there needs none. Then all ranks call it, and are told of an
  // error. Shared, because a kind without NCCL knows no more than the name of its type.
  Result<std::shared_ptr<NcclGroup>> (*open)(const BackendOptions& options);
  // nullptr: it is the host.
  Result<DeviceLimits> (*measure_limits)();
  // nullptr: none.
  DeviceFiles (*files)();
  // Tokens of a step that serves, at most: how many of them it takes in follows from what they were measured
  // to take (engine/step_budget.h).
  uint32_t step_tokens_max;
};

// kInvalidConfig: there is no such kind; kNotSupported: this program was built without it.
Result<DeviceKind> device_kind(std::string_view name);

}  // namespace deepserve::runner
