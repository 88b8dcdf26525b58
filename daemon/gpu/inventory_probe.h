// What GPUs there are, asked once before the loop runs: for the check of a configuration.
#pragma once

#include "daemon/gpu/gpus.h"

namespace deepserve::daemon {

// Waits for the driver, but not for ever: one that hangs costs `limit_ms`, and is kIo.
Result<GpuInventory> probe_inventory(OpenGpus open, uint64_t limit_ms);

}  // namespace deepserve::daemon
