// Ranks that are processes, killed and stopped at random moments: the others end with an error that names the
// lost one, soon, and no result before that is wrong.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "ipc/base/fd.h"
#include "runner/collective/shared_collective.h"

namespace deepserve::runner {
namespace {

constexpr int kNamedALostPeer = 42;
constexpr int kWrongResult = 1;
constexpr int kOtherError = 2;
constexpr int kNoGroup = 3;
constexpr uint64_t kEnd_ns = 10 * kSecond_ns;  // generous: the host may be busy

// Works until its group is over; the exit status says how that went.
int run_rank(const std::shared_ptr<ipc::GroupMemory>& memory, const JoinOptions& options, Patience patience,
             uint32_t seed) {
  auto joined = SharedCollective::join(memory, options);
  if (!joined) return joined.error().code == Code::kRunnerLost ? kNamedALostPeer : kNoGroup;
  SharedCollective& collective = **joined;
  const auto ranks = static_cast<float>(collective.size());
  std::mt19937 random(seed);
  std::vector<float> values;
  for (uint32_t i = 0;; ++i) {
    values.assign(1 + random() % 6000, 0.0f);
    for (size_t k = 0; k < values.size(); ++k)
      values[k] = static_cast<float>((k + i) % 1000) + static_cast<float>(collective.rank());
    Result<void> done = collective.all_reduce_sum(values);
    for (size_t k = 0; done && k < values.size(); ++k) {
      const float sum = static_cast<float>((k + i) % 1000) * ranks + ranks * (ranks - 1) / 2;
      if (values[k] != sum) return kWrongResult;
    }
    uint64_t word = collective.rank() == 0 ? i : ~0ull;
    if (done) done = collective.broadcast(std::as_writable_bytes(std::span(&word, 1)), 0, patience);
    if (done && word != i) return kWrongResult;
    if (done) continue;
    const bool named =
        done.error().code == Code::kRunnerLost && done.error().message.find("rank ") != std::string::npos;
    return named ? kNamedALostPeer : kOtherError;
  }
}

class Ranks {
 public:
  // `patience_ns` 0: as long as they live.
  Ranks(uint32_t count, uint32_t seed, uint64_t patience_ns) {
    const Patience patience = patience_ns == 0 ? Patience::kForever : Patience::kStep;
    JoinOptions options;
    options.join_ns = kSecond_ns;  // one may be hit before it has joined
    if (patience_ns != 0) options.patience_ns = patience_ns;
    const auto memfd = ipc::create_group_memory({.ranks = count, .buffer_bytes = 4096});
    memory_ = *ipc::GroupMemory::map(*memfd, 1);
    for (uint32_t rank = 0; rank < count; ++rank) {
      options.rank = rank;
      const pid_t pid = fork();
      if (pid == 0) _exit(run_rank(memory_, options, patience, seed));
      pids_.push_back(pid);
    }
  }
  ~Ranks() {
    for (const pid_t pid : pids_) {
      if (pid == 0) continue;
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }

  void signal(uint32_t rank, int number) { kill(pids_[rank], number); }

  // Returns once `rank` has come to its `round`-th exchange, or at `end_ns`.
  void await_round(uint32_t rank, uint32_t round, uint64_t end_ns) const {
    while (memory_->words(rank).entered.load() < round && monotonic_ns() < end_ns) std::this_thread::yield();
  }

  // The wait status of `rank`, or -1 when it has not ended by `end_ns`.
  int await_end(uint32_t rank, uint64_t end_ns) {
    const Fd end(static_cast<int>(syscall(SYS_pidfd_open, pids_[rank], 0)));
    const uint64_t now_ns = monotonic_ns();
    const auto left_ms = static_cast<int>(end_ns > now_ns ? (end_ns - now_ns) / kMillisecond_ns : 0);
    pollfd wanted{end.get(), POLLIN, 0};
    if (poll(&wanted, 1, left_ms) != 1) return -1;
    int status = 0;
    EXPECT_EQ(waitpid(pids_[rank], &status, 0), pids_[rank]);
    pids_[rank] = 0;
    return status;
  }

 private:
  std::shared_ptr<ipc::GroupMemory> memory_;
  std::vector<pid_t> pids_;
};

// Hits one rank of each of `rounds` groups with `number` and expects all others to say so.
void hit_random_ranks(int number, uint64_t patience_ns, uint32_t rounds) {
  const char* given = getenv("DEEPSERVE_SEED");
  const uint32_t seed = given != nullptr ? static_cast<uint32_t>(std::atoi(given)) : std::random_device()();
  std::printf("seed %u (DEEPSERVE_SEED repeats it)\n", seed);
  std::fflush(stdout);  // or each child prints it again
  std::mt19937 random(seed);
  for (uint32_t round = 0; round < rounds; ++round) {
    const uint32_t count = 2 + random() % 3, victim = random() % count;
    Ranks ranks(count, random(), patience_ns);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    ranks.signal(victim, number);
    const uint64_t begin_ns = monotonic_ns();
    for (uint32_t rank = 0; rank < count; ++rank) {
      if (rank == victim) continue;
      const int status = ranks.await_end(rank, begin_ns + kEnd_ns);
      ASSERT_NE(status, -1) << "rank " << rank << " of " << count << " hangs, round " << round;
      ASSERT_TRUE(WIFEXITED(status)) << "rank " << rank << ": wait status " << status;
      ASSERT_EQ(WEXITSTATUS(status), kNamedALostPeer) << "rank " << rank << ", round " << round;
    }
  }
}

TEST(RankDeath, AKilledRankIsNamedByAllOthers) {
  const char* seeds = getenv("DEEPSERVE_SEEDS");
  hit_random_ranks(SIGKILL, 0, seeds != nullptr ? static_cast<uint32_t>(std::atoi(seeds)) : 60);
}

TEST(RankDeath, AStoppedRankIsNamedWithinTheTimeLimit) {
  hit_random_ranks(SIGSTOP, 200 * kMillisecond_ns, 8);
}

TEST(RankDeath, ADeathIsNoticedLongBeforeTheTimeLimit) {
  Ranks ranks(2, 1, 0);
  ranks.await_round(0, 10, monotonic_ns() + kEnd_ns);
  ranks.signal(1, SIGKILL);
  const uint64_t begin_ns = monotonic_ns();
  ASSERT_NE(ranks.await_end(0, begin_ns + kEnd_ns), -1);
  EXPECT_LT(monotonic_ns() - begin_ns, 2 * kSecond_ns);
}

}  // namespace
}  // namespace deepserve::runner
