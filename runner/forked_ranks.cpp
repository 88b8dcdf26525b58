#include "runner/forked_ranks.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>

#include "runner/backend/rank_group.h"
#include "runner/model/loaded_model.h"

namespace deepserve::runner {
namespace {

// Of the GPUs that this process sees, rank r has the r-th alone: as a runner has it from dsd.
void see_gpu_of(uint32_t rank) {
  constexpr const char* kVisible = "CUDA_VISIBLE_DEVICES";
  const char* visible = std::getenv(kVisible);
  std::string_view left = visible == nullptr ? "" : visible;
  for (uint32_t i = 0; i < rank; ++i) {
    const size_t comma = left.find(',');
    left.remove_prefix(comma == left.npos ? left.size() : comma + 1);  // none is left: it has no GPU
  }
  const std::string own =
      visible == nullptr ? std::to_string(rank) : std::string(left.substr(0, left.find(',')));
  setenv(kVisible, own.c_str(), 1);
}

Result<void> follow(const std::shared_ptr<ipc::GroupMemory>& memory, uint32_t rank,
                    const std::filesystem::path& path, const DeviceKind& device, BackendOptions options) {
  see_gpu_of(rank);
  TRY_ASSIGN(const auto collective, SharedCollective::join(memory, {.rank = rank}));
  options.collective = collective.get();
  TRY_ASSIGN(const auto nccl, device.open(options));
  options.nccl = nccl.get();
  options.on_bytes_loaded = nullptr;
  TRY_ASSIGN(const LoadedModel model, load_model(path, options));
  return follow_rank_0(*model.backend, *collective);
}

}  // namespace

Result<std::unique_ptr<ForkedRanks>> ForkedRanks::start(uint32_t ranks, const std::filesystem::path& model,
                                                        const DeviceKind& device,
                                                        const BackendOptions& options) {
  std::unique_ptr<ForkedRanks> group(new ForkedRanks());
  if (ranks == 1) {
    TRY_ASSIGN(group->nccl_, device.open(options));
    return group;
  }
  TRY_ASSIGN(const Fd memfd, ipc::create_group_memory({.ranks = ranks}));
  TRY_ASSIGN(auto memory, ipc::GroupMemory::map(memfd, 0));
  std::fflush(nullptr);  // what is buffered is printed once
  for (uint32_t rank = 1; rank < ranks; ++rank) {
    const pid_t pid = fork();
    if (pid < 0) return fail_errno("forking a rank");
    // An error is told to rank 0, which prints it.
    if (pid == 0) _exit(follow(memory, rank, model, device, options) ? 0 : 1);
    group->pids_.push_back(pid);
  }
  see_gpu_of(0);
  TRY_ASSIGN(group->collective_, SharedCollective::join(std::move(memory), {.rank = 0}));
  BackendOptions own = options;
  own.collective = group->collective_.get();
  TRY_ASSIGN(group->nccl_, device.open(own));
  return group;
}

ForkedRanks::~ForkedRanks() {
  const uint64_t end_ns = monotonic_ns() + kEndLimit_ns;
  for (const pid_t pid : pids_) {
    while (waitpid(pid, nullptr, WNOHANG) == 0) {
      if (monotonic_ns() >= end_ns) kill(pid, SIGKILL);
      const timespec nap{.tv_sec = 0, .tv_nsec = static_cast<long>(kMillisecond_ns)};
      nanosleep(&nap, nullptr);
    }
  }
}

}  // namespace deepserve::runner
