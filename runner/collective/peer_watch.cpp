#include "runner/collective/peer_watch.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "ipc/base/clock.h"

namespace deepserve::runner {
namespace {

constexpr uint64_t kJoinNap_ns = kMillisecond_ns;

bool has_ended(const Fd& pidfd) {
  if (!pidfd) return false;
  pollfd entry{pidfd.get(), POLLIN, 0};
  return poll(&entry, 1, 0) > 0;
}

}  // namespace

std::string PeerWatch::name(uint32_t peer) const {
  return fmt::format("rank {} of {} (pid {})", peer, peers_.size(), peers_[peer].pid);
}

Result<PeerWatch> PeerWatch::join(std::shared_ptr<ipc::GroupMemory> memory, uint32_t rank,
                                  uint64_t limit_ns) {
  const uint32_t ranks = memory->facts().ranks;
  if (rank >= ranks) return fail(Code::kBadLane, "there is no rank {} in a group of {}", rank, ranks);
  const auto self = static_cast<uint32_t>(getpid());
  uint32_t nobody = 0;
  if (!memory->words(rank).pid.compare_exchange_strong(nobody, self, std::memory_order_acq_rel)) {
    return fail(Code::kBadLane, "rank {} of {} is taken by process {}", rank, ranks, nobody);
  }
  PeerWatch watch(std::move(memory), rank);
  watch.peers_[rank].pid = self;
  const uint64_t end_ns = monotonic_ns() + limit_ns;
  for (uint32_t peer = 0; peer < ranks; ++peer) {
    if (peer == rank) continue;
    for (;;) {
      TRY_ASSIGN(const bool met, watch.meet(peer));
      if (met) break;
      TRY(watch.all_live());
      if (monotonic_ns() >= end_ns) {
        return fail(Code::kRunnerLost, "rank {} of {} did not join its group within {} ms", peer, ranks,
                    limit_ns / kMillisecond_ns);
      }
      const timespec nap{.tv_sec = 0, .tv_nsec = kJoinNap_ns};
      nanosleep(&nap, nullptr);
    }
  }
  return watch;
}

// False: it has not signed in yet.
Result<bool> PeerWatch::meet(uint32_t peer) {
  Peer& other = peers_[peer];
  const uint32_t pid = memory_->words(peer).pid.load(std::memory_order_acquire);
  if (pid == 0) return false;
  other.pid = pid;
  if (pid == static_cast<uint32_t>(getpid())) return true;
  other.pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  if (other.pidfd) return true;
  if (errno == ESRCH || errno == EINVAL) {
    return fail(Code::kRunnerLost, "{} has died", name(peer));
  }
  return fail_errno(fmt::format("watching {}", name(peer)));
}

Result<void> PeerWatch::all_live() const {
  for (uint32_t peer = 0; peer < peers_.size(); ++peer) {
    if (peer == rank_) continue;
    if (const auto failure = memory_->failure(peer)) {
      return fail(failure->code, "{} gave up: {}", name(peer), failure->message);
    }
    if (has_ended(peers_[peer].pidfd)) return fail(Code::kRunnerLost, "{} has died", name(peer));
  }
  return {};
}

}  // namespace deepserve::runner
