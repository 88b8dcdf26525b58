// A crash at every step of the lane's code, both sides: the dying end runs under ptrace, one instruction at a
// time, and each state of the shared memory that a SIGKILL could leave is recovered from, in a copy of it.
//
// DEEPSERVE_CRASH_STARTS: from how many positions of the rings (they wrap) each side is tried; 6 if not
// given.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>

#include "ipc/base/check.h"
#include "ipc/lane/gauges_page.h"
#include "ipc/lane/ring.h"
#include "tests/unit/ipc/lane_fixture.h"

namespace deepserve::ipc {
namespace {

constexpr uint64_t kMessages = 5;  // what the dying end has to do with

// Inline bodies, and such as lie in the byte ring.
size_t bytes_of(uint64_t number) {
  constexpr std::array<size_t, 5> kBytes{20, 48, 300, 1000, 49};
  return kBytes[number % kBytes.size()];
}

std::vector<std::byte> message(uint64_t number) {
  return body_of(number, bytes_of(number));
}

uint64_t starts() {
  const char* given = std::getenv("DEEPSERVE_CRASH_STARTS");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : 6;
}

void send(RingProducer& producer, uint64_t from, uint64_t to) {
  for (uint64_t number = from; number < to; ++number) ASSERT_TRUE(producer.try_send(1, message(number)));
  producer.publish();
}

void expect_messages(const std::vector<Received>& got, uint64_t from, uint64_t to) {
  ASSERT_EQ(got.size(), to - from);
  for (uint64_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].body, message(from + i)) << from + i;
}

class CrashAtEachStep : public testing::Test {
 protected:
  CrashAtEachStep() {
    void* page = mmap(nullptr, sizeof *handled, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    handled = new (page) std::atomic<uint64_t>(0);
  }
  ~CrashAtEachStep() override { munmap(handled, sizeof *handled); }

  // Runs `life` in another process, step by step, and `recover` after each step that others can see: in
  // `after` is then the memory as it was left.
  void crash(const std::function<void()>& life, const std::function<void()>& recover) {
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(1);
      raise(SIGSTOP);
      life();
      _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status)) GTEST_SKIP() << "no process may be traced here";
    std::vector<std::byte> seen;
    uint64_t handled_seen = 0;
    while (WIFSTOPPED(status) && !HasFatalFailure()) {
      const auto now = memory->memory();
      if (!std::equal(now.begin(), now.end(), seen.begin(), seen.end()) || handled_seen != handled->load()) {
        seen.assign(now.begin(), now.end());
        handled_seen = handled->load();
        ++states;
        restore(seen);
        recover();
      }
      CHECK(ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr) == 0);
      CHECK(waitpid(pid, &status, 0) == pid);
      ++steps;
    }
    kill(pid, SIGKILL);
    if (WIFSTOPPED(status)) waitpid(pid, &status, 0);
    EXPECT_TRUE(HasFatalFailure() || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << status;
  }

  void restore(const std::vector<std::byte>& state) {
    std::copy(state.begin(), state.end(), after->memory().begin());
  }

  // Both rings stand behind `start` messages that were sent and received.
  void begin_at(uint64_t start) {
    memory = make_direction();
    after = make_direction();
    RingProducer producer(ring_view(*memory));
    RingConsumer consumer(ring_view(*memory));
    for (uint64_t number = 0; number < start; ++number) {
      send(producer, number, number + 1);
      expect_messages(drain_all(consumer), number, number + 1);
    }
    handled->store(start);
  }

  void print(const char* who) const {
    std::printf("%s: died at each of %llu steps, which left %llu states; all recovered\n", who,
                static_cast<unsigned long long>(steps), static_cast<unsigned long long>(states));
  }

  std::shared_ptr<MappedDirection> memory, after;
  std::atomic<uint64_t>* handled = nullptr;  // by a consumer, and seen by both processes
  uint64_t steps = 0, states = 0;
};

TEST_F(CrashAtEachStep, OfAProducerLeavesAPrefixAndTheNextGoesOnBehindIt) {
  for (uint64_t start = 0; start < starts(); ++start) {
    begin_at(start);
    const uint64_t end = start + kMessages;
    std::vector<std::vector<std::byte>> bodies;
    for (uint64_t number = start; number < end; ++number) bodies.push_back(message(number));
    const auto produce = [&] {
      RingProducer dying(ring_view(*memory));
      for (size_t i = 0; i < bodies.size(); ++i) {
        if (!dying.try_send(1, bodies[i])) _exit(2);
        if (i % 2 == 1) dying.publish();
      }
      dying.publish();
    };
    const auto recover = [&] {
      const std::vector<std::byte> left(after->memory().begin(), after->memory().end());
      for (const bool drained_before : {true, false}) {
        restore(left);
        RingConsumer survivor(ring_view(*after));
        std::vector<Received> got;
        if (drained_before) got = drain_all(survivor);
        RingProducer next(ring_view(*after));
        ASSERT_GE(next.published(), start + got.size());
        ASSERT_LE(next.published(), drained_before ? start + got.size() : end);
        while (next.published() < end) {  // one by one: nothing of the dead one's may come with them
          send(next, next.published(), next.published() + 1);
          for (auto& one : drain_all(survivor)) got.push_back(std::move(one));
          ASSERT_EQ(start + got.size(), next.published());
        }
        for (auto& one : drain_all(survivor)) got.push_back(std::move(one));
        ASSERT_NO_FATAL_FAILURE(expect_messages(got, start, end));
      }
    };
    ASSERT_NO_FATAL_FAILURE(crash(produce, recover));
    if (IsSkipped()) return;
  }
  EXPECT_GT(states, starts() * kMessages);
  print("producer");
}

TEST_F(CrashAtEachStep, OfAConsumerLosesNothingAndRepeatsOnlyWhatItHadNotFinished) {
  for (uint64_t start = 0; start < starts(); ++start) {
    begin_at(start);
    const uint64_t end = start + kMessages;
    RingProducer survivor(ring_view(*memory));
    send(survivor, start, end);
    const auto consume = [&] {
      RingConsumer dying(ring_view(*memory));
      const auto handle = [&](uint16_t, std::span<const std::byte>) { handled->fetch_add(1); };
      dying.drain(2, handle);
      dying.drain(kMessages, handle);
    };
    const auto recover = [&] {
      RingConsumer next(ring_view(*after));
      const uint64_t from = next.head();
      ASSERT_GE(from, start);
      ASSERT_LE(from, handled->load()) << "one was lost that nobody had handled";
      ASSERT_NO_FATAL_FAILURE(expect_messages(drain_all(next), from, end));
      RingProducer producer(ring_view(*after));
      ASSERT_NO_FATAL_FAILURE(send(producer, end, end + 3));
      ASSERT_NO_FATAL_FAILURE(expect_messages(drain_all(next), end, end + 3));
    };
    ASSERT_NO_FATAL_FAILURE(crash(consume, recover));
    if (IsSkipped()) return;
    EXPECT_EQ(handled->load(), end);
  }
  print("consumer");
}

TEST_F(CrashAtEachStep, OfAWriterOfGaugesLeavesTheOldOrTheNewOnes) {
  begin_at(0);
  GaugesWriter(memory->gauges()).publish({.kv_blocks_free = 5, .kv_blocks_total = 5, .prefix_hits_total = 5});
  restore({memory->memory().begin(), memory->memory().end()});
  const GaugesReader reader(after->gauges());
  ASSERT_EQ(reader.read().kv_blocks_free, 5u);
  const auto publish = [&] {
    GaugesWriter dying(memory->gauges());
    dying.publish({.kv_blocks_free = 6, .kv_blocks_total = 6, .prefix_hits_total = 6});
  };
  const auto recover = [&] {
    const Gauges got = reader.read();
    ASSERT_TRUE(got.kv_blocks_free == 5 || got.kv_blocks_free == 6);
    ASSERT_EQ(got.kv_blocks_total, got.kv_blocks_free);
    ASSERT_EQ(got.prefix_hits_total, got.kv_blocks_free);
    const std::vector<std::byte> left(after->memory().begin(), after->memory().end());
    GaugesWriter next(after->gauges());  // of the runner that comes in its place
    next.publish({.kv_blocks_free = 7, .kv_blocks_total = 7, .prefix_hits_total = 7});
    ASSERT_EQ(GaugesReader(after->gauges()).read().prefix_hits_total, 7u);
    restore(left);
  };
  ASSERT_NO_FATAL_FAILURE(crash(publish, recover));
  if (IsSkipped()) return;
  print("writer of gauges");
}

}  // namespace
}  // namespace deepserve::ipc
