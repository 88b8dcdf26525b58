// NVIDIA's Collective Communication Library as far as ds-runner calls it: types, numbers and functions after
// NVIDIA's public NCCL API reference (2.18 and later), under the names that libnccl.so.2 exports. Declared
// here because nccl.h is no part of the CUDA toolkit; where there is one,
// tests/gpu/backend/nccl_header_test holds this against it.
#pragma once

#include <cuda_runtime.h>

#include <climits>
#include <cstddef>

namespace deepserve::runner::nccl {

enum class Status : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,  // a peer died, or the way to it broke
  kInProgress = 7,
};

enum class DataType : int { kFloat32 = 7 };

struct CommunicatorState;
using Communicator = CommunicatorState*;

// What rank 0 makes and all ranks of a communicator are given: where rank 0 listens.
struct UniqueId {
  char bytes[128];
};

constexpr int kUndefined = INT_MIN;
constexpr int kVersionMin = 21800;  // whose configuration this is; later libraries take it too

// The library copies `size` bytes, and what came after `version` keeps its default.
struct Configuration {
  size_t size = sizeof(Configuration);
  unsigned magic = 0xcafebeef;
  unsigned version = kVersionMin;
  int blocking = kUndefined;
  int cga_cluster_size = kUndefined;
  int min_ctas = kUndefined;
  int max_ctas = kUndefined;
  const char* net_name = nullptr;
  int split_share = kUndefined;
};

// X(field, name, parameters): functions that return a Status.
#define DEEPSERVE_NCCL_TABLE(X)                                                                    \
  X(get_version, "ncclGetVersion", (int* version))                                                 \
  X(get_unique_id, "ncclGetUniqueId", (UniqueId * id))                                             \
  X(init_rank, "ncclCommInitRankConfig",                                                           \
    (Communicator * communicator, int ranks, UniqueId id, int rank, Configuration* configuration)) \
  X(async_error, "ncclCommGetAsyncError", (Communicator communicator, Status * status))            \
  X(abort, "ncclCommAbort", (Communicator communicator))                                           \
  X(group_start, "ncclGroupStart", ())                                                             \
  X(group_end, "ncclGroupEnd", ())                                                                 \
  X(all_gather, "ncclAllGather",                                                                   \
    (const void* mine, void* all, size_t count, DataType type, Communicator communicator,          \
     cudaStream_t stream))                                                                         \
  X(send, "ncclSend",                                                                              \
    (const void* from, size_t count, DataType type, int peer, Communicator communicator,           \
     cudaStream_t stream))                                                                         \
  X(receive, "ncclRecv",                                                                           \
    (void* to, size_t count, DataType type, int peer, Communicator communicator, cudaStream_t stream))

struct Functions {
#define X(field, name, parameters) Status(*field) parameters = nullptr;
  DEEPSERVE_NCCL_TABLE(X)
#undef X
  const char* (*error_string)(Status status) = nullptr;            // "ncclGetErrorString"
  const char* (*last_error)(Communicator communicator) = nullptr;  // "ncclGetLastError"
};

}  // namespace deepserve::runner::nccl
