// The ranks of one model on GPUs: how float32 values go from one GPU's memory to another's, by NCCL.
//
// NCCL only moves bytes here. Its own reduction adds in an order that its version, the topology and the size
// choose, where DESIGN 8 wants one order: who sums adds the parts itself (kernels/cuda/rank_sum.h).
//
// The id by which the ranks find each other is made by rank 0 and handed to the others through the memory of
// the group that dsd made. All sockets, threads and shared memory of NCCL's are made in join() and by the
// first call of each operation: so both come before the sandbox.
//
// Nothing here waits without a limit. The communicator does not block: who waits for the GPU calls look()
// every few milliseconds, which sees a peer that has died or given up, an error of NCCL's own, and the time.
// Then the group is over: the others are told why, the communicator is aborted, so that what the GPU waits
// for ends, and every later call gives the same error. The process should end; where NCCL does not even give
// up within its limit, it ends at once.
//
// One thread of a process calls at a time.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "ipc/base/clock.h"
#include "runner/collective/collective.h"
#include "runner/collective/nccl/nccl_api.h"

namespace deepserve::runner {

struct NcclLimits {
  uint64_t join_ns = 30 * kSecond_ns;  // for all to join: half of what dsd takes for a load that hangs
  // A wait for the GPU; with meet_ns less than what dsd takes for a hang.
  uint64_t step_ns = 6 * kSecond_ns;
  uint64_t meet_ns = 2 * kSecond_ns;   // for the ranks to show that they live, after it
  uint64_t abort_ns = 3 * kSecond_ns;  // that NCCL may take to give up; then the process ends
};

class NcclGroup {
 public:
  // All ranks of `peers` call it, each with its GPU opened, and wait for each other. Both arguments outlive
  // the object. kInvalidConfig: two ranks have the same GPU, or NCCL cannot use one; kRunnerLost names who
  // died or did not come.
  static Result<std::unique_ptr<NcclGroup>> join(const nccl::Functions& library, Collective& peers,
                                                 const NcclLimits& limits = {});
  // Aborts the communicator: the others, if they use it again, are told.
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  uint32_t rank() const { return rank_; }
  uint32_t size() const { return size_; }

  // What follows puts its work into `stream`, and is called by all ranks in the same order with the same
  // sizes. Pointers are device memory.

  // all[r * count ...] = rank r's mine[0, count). `mine` may lie at its place in `all`.
  Result<void> all_gather(const float* mine, size_t count, float* all, cudaStream_t stream);
  // to[r * count ...] = the values that rank r has at from[rank() * count ...]. At its own place `to` is left
  // alone.
  Result<void> exchange(const float* from, float* to, size_t count, cudaStream_t stream);
  // On rank 0: all = the others' `mine`, rank 1's counts[1] values first. counts: [ranks].
  Result<void> gather(const float* mine, std::span<const size_t> counts, float* all, cudaStream_t stream);

  // Of who waits for the GPU since `begin_ns`.
  Result<void> look(uint64_t begin_ns) { return look(begin_ns, limits_.step_ns); }
  // Ends the group, also where something else than this object failed.
  void end(const Error& error);

 private:
  NcclGroup(const nccl::Functions& library, Collective& peers, const NcclLimits& limits)
      : library_(library), peers_(peers), limits_(limits), rank_(peers.rank()), size_(peers.size()) {}

  Result<void> connect();
  Result<void> look(uint64_t begin_ns, uint64_t limit_ns);
  Result<void> settle(nccl::Status status, std::string_view what, uint64_t limit_ns);
  Result<void> called(nccl::Status status, std::string_view what);
  Error error_of(nccl::Status status, std::string_view what) const;
  Error lost_peer_or(Error error);
  tl::unexpected<Error> ended(Error error);
  void abort();

  const nccl::Functions& library_;
  Collective& peers_;
  const NcclLimits limits_;
  const uint32_t rank_;
  const uint32_t size_;
  nccl::Communicator communicator_ = nullptr;
  std::optional<Error> ended_;  // the group is over: why
};

}  // namespace deepserve::runner
