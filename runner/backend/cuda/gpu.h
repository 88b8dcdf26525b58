// The GPU that this process computes on: the first that it sees (dsd shows each runner its own).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "ipc/base/result.h"

namespace deepserve::runner::cuda {

struct Gpu {
  std::string name;    // "NVIDIA H200"
  int capability = 0;  // 90 for 9.0
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;  // when it was opened
  uint32_t multiprocessors = 0;
  uint64_t block_shared_bytes = 0;  // shared memory that a block of threads may have at most
};

// Opens it: from here on the process has a context on it. kInvalidConfig names what is missing: a GPU, a
// driver that is new enough, machine code for this GPU.
Result<Gpu> open_gpu();

// Whether code made for `architectures` (90 for sm_90) runs on a GPU of `capability`: one of the same major
// number, not above it in the minor.
bool runs_on(std::span<const int> architectures, int capability);

// What this program has machine code for.
std::span<const int> built_architectures();

}  // namespace deepserve::runner::cuda
