// A group of ranks that are processes, each with an emulated GPU of its own: what each made of its work.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ipc/base/clock.h"
#include "ipc/base/fd.h"
#include "runner/collective/shared_collective.h"

namespace deepserve::runner {

// Of one rank.
struct RankEnd {
  bool was_done = false;  // it returned without an error
  int signal = 0;         // it was ended by this
  Code code{};            // of its error
  std::string message;
  std::vector<float> values;  // that it gave
  uint64_t took_ns = 0;
};

class ForkedGroup {
 public:
  using Values = std::vector<float>;
  // What a rank does, in a process of its own.
  using Work = std::function<Result<Values>(Collective& peers)>;

  // `environment`: FAKE_NCCL of all ranks. Patience for peers that share two cores with everybody.
  ForkedGroup(uint32_t ranks, const std::string& environment, const Work& work) : ends_(ranks) {
    const auto memfd = ipc::create_group_memory({.ranks = ranks});
    memory_ = *ipc::GroupMemory::map(*memfd, 1);
    reports_ = static_cast<Report*>(
        mmap(nullptr, ranks * sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    begin_ns_ = monotonic_ns();
    for (uint32_t rank = 0; rank < ranks; ++rank) {
      const pid_t pid = fork();
      if (pid == 0) run(rank, environment, work);
      pids_.push_back(pid);
    }
  }
  ~ForkedGroup() {
    for (const pid_t pid : pids_) {
      if (pid == 0) continue;
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    munmap(reports_, pids_.size() * sizeof(Report));
  }
  ForkedGroup(const ForkedGroup&) = delete;
  ForkedGroup& operator=(const ForkedGroup&) = delete;

  const std::shared_ptr<ipc::GroupMemory>& memory() const { return memory_; }
  pid_t pid(uint32_t rank) const { return pids_[rank]; }

  // How `rank` has ended; nothing: it has not within the limit.
  std::optional<RankEnd> end(uint32_t rank, uint64_t limit_ns = 60 * kSecond_ns) {
    const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pids_[rank], 0)));
    pollfd wanted{pidfd.get(), POLLIN, 0};
    if (poll(&wanted, 1, static_cast<int>(limit_ns / kMillisecond_ns)) != 1) return std::nullopt;
    int status = 0;
    EXPECT_EQ(waitpid(std::exchange(pids_[rank], 0), &status, 0) > 0, true);
    const Report& report = reports_[rank];
    RankEnd end;
    end.took_ns = monotonic_ns() - begin_ns_;
    end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    end.was_done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    end.code = report.code;
    end.message = report.message;
    end.values.assign(report.values, report.values + report.count);
    return end;
  }

 private:
  struct Report {
    Code code;
    char message[512];
    size_t count;
    float values[1 << 18];
  };

  [[noreturn]] void run(uint32_t rank, const std::string& environment, const Work& work) {
    setenv("FAKE_NCCL", environment.c_str(), 1);
    setenv("CUDA_VISIBLE_DEVICES", std::to_string(rank).c_str(), 0);
    Report& report = reports_[rank];
    const auto done = [&]() -> Result<Values> {
      JoinOptions options{.rank = rank};
      options.patience_ns = 30 * kSecond_ns;
      TRY_ASSIGN(const auto peers, SharedCollective::join(memory_, options));
      return work(*peers);
    }();
    if (done) {
      report.count = std::min(done->size(), std::size(report.values));
      std::copy_n(done->begin(), report.count, report.values);
      _exit(0);
    }
    report.code = done.error().code;
    std::strncpy(report.message, done.error().message.c_str(), sizeof report.message - 1);
    _exit(1);
  }

  std::shared_ptr<ipc::GroupMemory> memory_;
  Report* reports_;
  std::vector<pid_t> pids_;
  std::vector<RankEnd> ends_;
  uint64_t begin_ns_ = 0;
};

}  // namespace deepserve::runner
