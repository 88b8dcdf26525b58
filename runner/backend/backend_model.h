// What a backend is made of: a model's files, opened, checked and found good.
#pragma once

#include <cstdint>

#include "runner/model/model_config.h"
#include "runner/model/model_files.h"
#include "runner/model/model_weights.h"

namespace deepserve::runner {

struct BackendModel {
  ModelFiles files;  // what the matrices of `weights` point into
  ModelConfig config;
  ModelWeights weights;
  uint64_t content_hash = 0;
};

}  // namespace deepserve::runner
