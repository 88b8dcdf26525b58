// The backend that computes on the host's own cores.
#pragma once

#include <cstdint>
#include <memory>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"
#include "runner/model/model_config.h"
#include "runner/model/model_files.h"
#include "runner/model/model_weights.h"

namespace deepserve::runner {

struct CpuModel {
  ModelFiles files;  // what the matrices of `weights` point into
  ModelConfig config;
  ModelWeights weights;
  uint64_t content_hash = 0;
};

// kInvalidConfig: an ISA that is not there, or memory for less than one KV block or more than the host has.
// kOutOfMemory: it is not to be had now.
Result<std::unique_ptr<Backend>> make_cpu_backend(CpuModel model, const BackendOptions& options);

}  // namespace deepserve::runner
