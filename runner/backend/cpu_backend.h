// The backend that computes on the host's own cores.
#pragma once

#include <memory>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"
#include "runner/backend/backend_model.h"

namespace deepserve::runner {

// kInvalidConfig: an ISA that is not there, or memory for less than one KV block or more than the host has.
// kOutOfMemory: it is not to be had now.
Result<std::unique_ptr<Backend>> make_cpu_backend(BackendModel model, const BackendOptions& options);

}  // namespace deepserve::runner
