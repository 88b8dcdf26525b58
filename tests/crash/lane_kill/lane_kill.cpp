// kill -9 at random moments against both sides of a lane (DESIGN 5, 14): nothing torn, nothing lost, order
// kept, and no repeat once numbers that were already handled are dropped.
//
//   lane_kill [--kills N] [--seed S]     prints its seed; exit status 0 only when everything holds
#include <fmt/core.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <new>
#include <random>
#include <string_view>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"
#include "ipc/lane/lane.h"
#include "ipc/lane/lane_side.h"
#include "tests/crash/lane_kill/sides.h"

namespace deepserve::crash {
namespace {

// No life of a side may leave the other without progress for longer than this, however busy the host is.
constexpr uint64_t kPatience_ns = 30 * kSecond_ns;

struct Shared {
  Ledger ledger;
  std::atomic<uint64_t> messages_max{~uint64_t{0}};
};

struct Child {
  pid_t pid = 0;
  uint32_t life = 0;
};

void pause_ns(uint64_t duration_ns) {
  const timespec duration{.tv_sec = 0, .tv_nsec = static_cast<long>(duration_ns)};
  ::nanosleep(&duration, nullptr);
}

class Supervisor {
 public:
  Supervisor(uint64_t seed, ipc::Side producing) : random_(seed) {
    auto fds = ipc::create_lane_with(kSizes, 1, seed % 2 == 0 ? 0 : ipc::kFeatureSlotCrc);
    CHECK(fds);
    fds_ = std::move(*fds);
    void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    shared_ = new (memory) Shared;
    campaign_ = {.seed = seed,
                 .producing = producing,
                 .fds = &fds_,
                 .ledger = &shared_->ledger,
                 .messages_max = &shared_->messages_max};
  }
  ~Supervisor() { ::munmap(shared_, sizeof(Shared)); }

  bool run(int kills) {
    start(producer_, run_producer);
    start(consumer_, run_consumer);
    for (int kill = 0; kill < kills; ++kill) {
      if (!wait_for_progress()) return false;
      pause_ns(random_() % 3'000'000);
      const uint64_t which = random_() % 4;  // now and then both at once
      if (which != 0) stop(producer_, producers_killed_);
      if (which == 0 || which == 3) stop(consumer_, consumers_killed_);
      // In either order: the survivor of a double death is whoever attaches first.
      if (random_() % 2 == 0) restart_dead();
      if (producer_.pid == 0) start(producer_, run_producer);
      if (consumer_.pid == 0) start(consumer_, run_consumer);
    }
    return wait_for_progress() && finish();
  }

  bool report() const {
    const Ledger& ledger = shared_->ledger;
    fmt::print(
        "{}: {} producers and {} consumers killed; {} messages accepted, {} repeats dropped, {} sleeps; torn "
        "{}, "
        "lost {}, out of order {}, lies {}\n",
        campaign_.producing == ipc::Side::kRunner ? "runner -> daemon" : "daemon -> runner",
        producers_killed_, consumers_killed_, ledger.next.load(), ledger.repeats.load(), ledger.sleeps.load(),
        ledger.torn.load(), ledger.lost.load(), ledger.disordered.load(), ledger.lies.load());
    // A consumer's death repeats at most what it handled since it last stored its head.
    const uint64_t repeats_max = consumers_killed_ * ipc::kHeadStride_messages;
    return ledger.torn.load() == 0 && ledger.lost.load() == 0 && ledger.disordered.load() == 0 &&
           ledger.lies.load() == 0 && ledger.repeats.load() <= repeats_max;
  }

 private:
  void start(Child& child, int (*side)(const Campaign&, uint32_t)) {
    ++child.life;
    child.pid = ::fork();
    CHECK(child.pid >= 0);
    if (child.pid == 0) ::_exit(side(campaign_, child.life));
  }

  void restart_dead() {
    if (consumer_.pid == 0) start(consumer_, run_consumer);
    if (producer_.pid == 0) start(producer_, run_producer);
  }

  void stop(Child& child, uint64_t& count) {
    CHECK(::kill(child.pid, SIGKILL) == 0);
    int status = 0;
    CHECK(::waitpid(child.pid, &status, 0) == child.pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
      ++count;
    } else {
      fmt::print("a side ended by itself with wait status {:#x}\n", status);
      failed_ = true;
    }
    child.pid = 0;
  }

  // Both sides of this life have attached and messages arrive: whoever slept was woken.
  bool wait_for_progress() {
    const Ledger& ledger = shared_->ledger;
    const uint64_t start_ns = monotonic_ns();
    const uint64_t before = ledger.next.load();
    while (ledger.producer_attached.load() != producer_.life ||
           ledger.consumer_attached.load() != consumer_.life || ledger.next.load() == before) {
      if (monotonic_ns() - start_ns > kPatience_ns || failed_) return give_up();
      pause_ns(50'000);
    }
    return true;
  }

  // Lets the producer come to its end and the consumer handle all of it.
  bool finish() {
    shared_->messages_max.store(shared_->ledger.next.load() + 10'000);
    const uint64_t start_ns = monotonic_ns();
    for (Child* child : {&producer_, &consumer_}) {
      int status = 0;
      pid_t ended = 0;
      while ((ended = ::waitpid(child->pid, &status, WNOHANG)) == 0) {
        if (monotonic_ns() - start_ns > kPatience_ns) return give_up();
        pause_ns(100'000);
      }
      child->pid = 0;
      CHECK(ended > 0);
      if (status != 0) {
        fmt::print("a side ended with wait status {:#x}\n", status);
        return give_up();
      }
    }
    return shared_->ledger.next.load() >= shared_->messages_max.load();
  }

  bool give_up() {
    fmt::print("no progress beyond message {}: a wake-up or a message is lost\n",
               shared_->ledger.next.load());
    for (Child* child : {&producer_, &consumer_}) {
      if (child->pid == 0) continue;
      ::kill(child->pid, SIGKILL);
      ::waitpid(child->pid, nullptr, 0);
      child->pid = 0;
    }
    return false;
  }

  std::mt19937_64 random_;
  ipc::LaneFds fds_;
  Shared* shared_ = nullptr;
  Campaign campaign_;
  Child producer_;
  Child consumer_;
  uint64_t producers_killed_ = 0;
  uint64_t consumers_killed_ = 0;
  bool failed_ = false;
};

bool run_both_directions(uint64_t seed, int kills) {
  bool all_hold = true;
  for (const auto producing : {ipc::Side::kRunner, ipc::Side::kDaemon}) {
    Supervisor supervisor(producing == ipc::Side::kRunner ? seed : seed + 1, producing);
    const bool ran = supervisor.run(kills / 2);
    all_hold = supervisor.report() && ran && all_hold;
  }
  return all_hold;
}

}  // namespace
}  // namespace deepserve::crash

int main(int argc, char** argv) {
  uint64_t seed = std::random_device{}();
  int kills = 200;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::string_view(argv[i]) == "--seed") seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::string_view(argv[i]) == "--kills") kills = std::atoi(argv[i + 1]);
  }
  if (argc % 2 == 0 || kills < 2) {
    fmt::print(stderr, "usage: lane_kill [--kills N] [--seed S]\n");
    return 2;
  }
  fmt::print("seed {}\n", seed);
  std::fflush(stdout);  // before the first fork
  const bool holds = deepserve::crash::run_both_directions(seed, kills);
  fmt::print("{}\n", holds ? "PASS" : "FAIL");
  return holds ? 0 : 1;
}
