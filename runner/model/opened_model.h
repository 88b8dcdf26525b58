// What the files of a model say, before anything is computed from them: the same for every format.
#pragma once

#include <cstdint>
#include <future>

#include "ipc/base/result.h"
#include "runner/model/model_config.h"
#include "runner/model/model_files.h"
#include "runner/model/model_tensors.h"
#include "runner/model/vocabulary.h"

namespace deepserve::runner {

struct OpenedModel {
  ModelFiles files;  // what the tensors' bytes lie in
  ModelTensors tensors;
  ModelConfig config;
  uint64_t config_hash = 0;  // of what `config` was read from, where that is none of `files`
  // Read by a thread of its own while the weights come into memory: 150,000 tokens take some 0.1 s. An error
  // leaves a model that can still compute.
  std::future<Result<Vocabulary>> vocabulary;
};

}  // namespace deepserve::runner
