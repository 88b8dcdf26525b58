// How fast this GPU copies and multiplies, for benches to hold their figures against.
#pragma once

#include "ipc/base/result.h"
#include "runner/backend/device_limits.h"

namespace deepserve::runner::cuda {

// Medians of several runs by CUDA events, after a warm-up, a second in all on a large GPU. Takes at most an
// eighth of its free memory.
Result<DeviceLimits> measure_gpu_limits();

}  // namespace deepserve::runner::cuda
