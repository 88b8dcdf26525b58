// How much of a device's memory_limit a model's runner is reckoned to take.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/config/config.h"

namespace deepserve::daemon {

// Of the weights at `path`, a file or a directory: what lies on disk. 0: nothing is there.
uint64_t model_file_bytes(const std::string& path);

// Of one of its runner's processes: its part of the weights, and its KV cache.
uint64_t runner_memory_bytes(const ModelConfig& model);

}  // namespace deepserve::daemon
