#include "runner/forked_ranks.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "runner/backend/rank_group.h"
#include "runner/model/loaded_model.h"

namespace deepserve::runner {
namespace {

Result<void> follow(const std::shared_ptr<ipc::GroupMemory>& memory, uint32_t rank,
                    const std::filesystem::path& path, BackendOptions options) {
  TRY_ASSIGN(const auto collective, SharedCollective::join(memory, {.rank = rank}));
  options.collective = collective.get();
  options.on_bytes_loaded = nullptr;
  TRY_ASSIGN(const LoadedModel model, load_model(path, options));
  return follow_rank_0(*model.backend, *collective);
}

}  // namespace

Result<std::unique_ptr<ForkedRanks>> ForkedRanks::start(uint32_t ranks, const std::filesystem::path& model,
                                                        const BackendOptions& options) {
  std::unique_ptr<ForkedRanks> group(new ForkedRanks());
  if (ranks == 1) return group;
  TRY_ASSIGN(const Fd memfd, ipc::create_group_memory({.ranks = ranks}));
  TRY_ASSIGN(auto memory, ipc::GroupMemory::map(memfd, 0));
  std::fflush(nullptr);  // what is buffered is printed once
  for (uint32_t rank = 1; rank < ranks; ++rank) {
    const pid_t pid = fork();
    if (pid < 0) return fail_errno("forking a rank");
    // An error is told to rank 0, which prints it.
    if (pid == 0) _exit(follow(memory, rank, model, options) ? 0 : 1);
    group->pids_.push_back(pid);
  }
  TRY_ASSIGN(group->collective_, SharedCollective::join(std::move(memory), {.rank = 0}));
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
