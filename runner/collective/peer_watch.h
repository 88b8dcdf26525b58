// Who else is in the rank group, and whether they live: by pidfd, which no later process of the same number
// can be mistaken for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ipc/base/fd.h"
#include "ipc/base/result.h"
#include "ipc/rank_group/group_memory.h"

namespace deepserve::runner {

class PeerWatch {
 public:
  // Signs in as `rank` and waits until all have, at most `limit_ns`. kRunnerLost names who did not come, has
  // died or has given up; kBadLane: the rank is taken. Opens nothing by name: it works in a sandbox.
  static Result<PeerWatch> join(std::shared_ptr<ipc::GroupMemory> memory, uint32_t rank, uint64_t limit_ns);

  // The first peer that has given up (with its reason) or died. Two system calls a peer at most.
  Result<void> all_live() const;
  // "rank 1 of 2 (pid 4711)", for messages.
  std::string name(uint32_t peer) const;

 private:
  struct Peer {
    uint32_t pid = 0;
    Fd pidfd;  // none: it is a thread of this process
  };
  PeerWatch(std::shared_ptr<ipc::GroupMemory> memory, uint32_t rank)
      : memory_(std::move(memory)), rank_(rank), peers_(memory_->facts().ranks) {}
  Result<bool> meet(uint32_t peer);

  std::shared_ptr<ipc::GroupMemory> memory_;  // shared by the ranks that are threads of a test
  uint32_t rank_;
  std::vector<Peer> peers_;
};

}  // namespace deepserve::runner
