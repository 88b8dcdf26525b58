// Brings a model's weights into memory, once, before anything is computed: looks at every byte for a
// fingerprint, and at every number.
#pragma once

#include <cstdint>
#include <functional>

#include "ipc/base/result.h"
#include "runner/model/model_files.h"
#include "runner/model/model_tensors.h"

namespace deepserve::runner {

struct WeightReading {
  uint64_t seed = 0;                                    // of the fingerprint
  unsigned threads = 1;                                 // that read; the result is the same
  std::function<void(uint64_t bytes_so_far)> on_bytes;  // called by the caller's thread; may be empty
};

// The fingerprint of all files' bytes, in order. kBadModelFile names the first tensor that holds an infinity
// or a NaN, and where.
Result<uint64_t> read_weights(const ModelFiles& files, const ModelTensors& tensors,
                              const WeightReading& reading);

}  // namespace deepserve::runner
