// The attention of a step's rows over the paged KV cache: the block tables that its kernels read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runner/backend/backend.h"
#include "runner/backend/cuda/device_kv_cache.h"
#include "runner/backend/cuda/device_memory.h"
#include "runner/model/model_config.h"

namespace deepserve::runner::cuda {

class StepAttention {
 public:
  static Result<StepAttention> make(const ModelConfig& config);

  // Takes the step's entries, which must be within the backend's bounds, and puts the copy of what they need
  // into `stream`; may be called again when that has run.
  Result<void> send(std::span<const BatchEntry> batch, cudaStream_t stream);

  // attended[t] = what token t's heads see in `layer`: bf16 [tokens, stride], of which what lies behind the
  // heads is left alone. queries: binary16 [tokens, heads, head_dim], rotated.
  Result<void> run(const DeviceKvCache& cache, uint32_t layer, const uint16_t* queries, uint16_t* attended,
                   uint32_t stride, cudaStream_t stream) const;

 private:
  struct Sequence {
    uint32_t row;  // of its first token
    uint32_t tokens;
    uint32_t position;
    uint64_t first_block;  // in blocks_
  };

  uint32_t heads_ = 0;
  uint32_t kv_heads_ = 0;
  uint32_t head_dim_ = 0;
  DeviceMemory blocks_;  // all sequences' tables, one after the other; grows when it must
  PinnedMemory pinned_;
  std::vector<Sequence> sequences_;
};

}  // namespace deepserve::runner::cuda
