// The GPUs as NVIDIA's driver knows them: through libnvidia-ml.so.1, which comes with the driver and is
// looked for when it is asked for. A host without it has no GPUs, and dsd runs there as well.
#pragma once

#include "daemon/gpu/gpus.h"

namespace deepserve::daemon {

// kNotFound: this host has no NVIDIA driver, or none that runs. kIo: it has one that does not work. Blocks:
// without a daemon that keeps it awake a driver may take seconds to begin.
Result<std::unique_ptr<Gpus>> open_nvml_gpus();

}  // namespace deepserve::daemon
