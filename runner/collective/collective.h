// How the ranks of one model exchange tensors that lie in their processes' memory. Ranks on GPUs exchange
// theirs by NCCL (nccl/nccl_group.h), and through this they meet, are told each step, and see each other die.
//
// All ranks call the same operations in the same order with the same sizes. Results do not depend on timing
// or on how an operation is cut into pieces: all_reduce_sum adds by a fixed tree, the sum of ranks [b, e)
// being that of [b, m) plus that of [m, e) with m = b + (e - b) / 2, and every rank gets the same bits
// (DESIGN 8).
//
// A call never hangs and never gives garbage: when a peer dies, gives up, or does not come within the time
// limit, every rank that waits for it gets an error that names it (kRunnerLost; kBadLane when a peer broke
// the rules). From then on every call gives that error: the group is over, and its processes should end.
//
// One thread of a process calls at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/base/result.h"

namespace deepserve::runner {

// How long a call may wait for its peers.
enum class Patience : uint8_t {
  kStep,     // the group's time limit: the others are at the same work
  kForever,  // as long as they live: the next work may come in an hour
};

class Collective {
 public:
  virtual ~Collective() = default;
  virtual uint32_t rank() const = 0;  // of this process
  virtual uint32_t size() const = 0;  // ranks in all, at least 2

  // values[i] = the sum of all ranks' values[i], the same bits for all. Any number of values.
  virtual Result<void> all_reduce_sum(std::span<float> values) = 0;

  // Puts together what the ranks hold: rank r's `mine` has counts[r] values, and `all` gets rank 0's, then
  // rank 1's, and so on. `mine` may lie at its place in `all`. A rank that needs no result passes an empty
  // `all`, and does not wait.
  virtual Result<void> all_gather(std::span<const float> mine, std::span<const size_t> counts,
                                  std::span<float> all) = 0;

  // `bytes` of `root` to all. `patience` is theirs who wait for the root, which itself waits only for room.
  virtual Result<void> broadcast(std::span<std::byte> bytes, uint32_t root, Patience patience) = 0;

  // Returns once all ranks have called it.
  virtual Result<void> barrier(Patience patience) = 0;

  // The same, but waits no longer than `limit_ns` for each: the error names who did not come.
  virtual Result<void> barrier_within(uint64_t limit_ns) = 0;

  // A look at the others, without waiting: kRunnerLost names the first that has died or given up. For ranks
  // that wait for something else than this object.
  virtual Result<void> all_live() = 0;

  // Tells the others why this rank gives up: what they wait for fails with `error`, under this rank's name.
  virtual void abandon(const Error& error) = 0;
};

}  // namespace deepserve::runner
