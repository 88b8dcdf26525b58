// What a model takes of a GPU's memory, said before anything is copied.
#pragma once

#include <cstdint>

#include "ipc/base/result.h"
#include "runner/backend/cuda/gpu.h"

namespace deepserve::runner::cuda {

struct MemoryNeed {
  uint64_t weights = 0;
  uint64_t kv = 0;
  uint64_t work = 0;
  uint64_t cuda = 0;  // memory_of_cuda

  uint64_t total() const { return weights + kv + work + cuda; }
  // kInvalidConfig with the parts: there is less free, or `limit_bytes` (0: none) is less.
  Result<void> check(const Gpu& gpu, uint64_t limit_bytes) const;
};

// What CUDA takes when kernels are first used: their code, graphs, local memory. A guess, by the size of the
// GPU: who fills it to the last byte fails at the first prompt.
uint64_t memory_of_cuda(const Gpu& gpu, bool deterministic);

}  // namespace deepserve::runner::cuda
