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
  int jit_driver = 0;  // 13020: its driver, which knows CUDA 13.2, compiles the kernels; 0: it need not
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;  // when it was opened
  uint32_t multiprocessors = 0;
  uint64_t block_shared_bytes = 0;  // shared memory that a block of threads may have at most
};

// Opens it: from here on the process has a context on it.
// kInvalidConfig names what is missing: a GPU, a driver that is new enough, machine code for this GPU.
//
// With `allow_jit` the driver may compile the program's PTX for a GPU without machine code, where it has PTX
// that is not newer than the GPU. All of it is compiled (or loaded) in the first such call, which may take
// minutes; the driver keeps the result in its cache where it may write files.
Result<Gpu> open_gpu(bool allow_jit);

// Whether code made for `architectures` (90 for sm_90) runs on a GPU of `capability`: one of the same major
// number, not above it in the minor.
bool runs_on(std::span<const int> architectures, int capability);

// Whether a driver can compile PTX made for one of `architectures` for a GPU of `capability`: not below it.
bool compiles_for(std::span<const int> architectures, int capability);

// Whether kernels may overlap (overlap.h) on a GPU of `capability`: it can, and the newest code for it, of
// `architectures`, was made for one that can.
bool overlaps_on(std::span<const int> architectures, int capability);

// What this program has machine code for, and what it has PTX for; either may be empty.
std::span<const int> built_architectures();
std::span<const int> ptx_architectures();

}  // namespace deepserve::runner::cuda
