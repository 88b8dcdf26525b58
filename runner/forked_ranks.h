// The other ranks of a command that runs without a daemon: processes forked from this one, which is rank 0.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"
#include "runner/collective/shared_collective.h"
#include "runner/device_kind.h"

namespace deepserve::runner {

class ForkedRanks {
 public:
  // Forks ranks 1 to `ranks` - 1, each of which opens the next of the GPUs that this process sees, loads its
  // part of `model` with `options` and follows rank 0; opens the device of this one. Before this process
  // starts a thread. `ranks` 1 forks nothing.
  static Result<std::unique_ptr<ForkedRanks>> start(uint32_t ranks, const std::filesystem::path& model,
                                                    const DeviceKind& device, const BackendOptions& options);
  // Waits for the others, whom the end of rank 0's backend ends; after kEndLimit_ns it kills them.
  ~ForkedRanks();
  ForkedRanks(const ForkedRanks&) = delete;
  ForkedRanks& operator=(const ForkedRanks&) = delete;

  // For BackendOptions of rank 0; nullptr for 1 rank.
  Collective* collective() const { return collective_.get(); }
  NcclGroup* nccl() const { return nccl_.get(); }
  const std::vector<pid_t>& pids() const { return pids_; }

 private:
  static constexpr uint64_t kEndLimit_ns = 2 * kSecond_ns;
  ForkedRanks() = default;

  std::vector<pid_t> pids_;
  std::unique_ptr<SharedCollective> collective_;
  std::shared_ptr<NcclGroup> nccl_;  // as DeviceKind::open gave it
};

}  // namespace deepserve::runner
