// Both ends of a lane as two threads over one mapping: what the thread sanitizer can see (it sees no race
// between two mappings of the same memory). Bounded waits end a test that lost a wake-up.
#include <thread>

#include "ipc/base/clock.h"
#include "tests/unit/ipc/lane_fixture.h"

namespace deepserve::ipc {
namespace {

constexpr uint64_t kPatience_ns = 60 * kSecond_ns;

// Both sides over the same two mappings.
struct OneMapping {
  std::shared_ptr<MappedDirection> to_runner = make_direction(Direction::kToRunner);
  std::shared_ptr<MappedDirection> to_daemon = make_direction(Direction::kToDaemon);
  int daemon_wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  int runner_wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  LaneSide daemon{to_runner, to_daemon, Fd(daemon_wake), Fd(::dup(runner_wake)), Side::kDaemon};
  LaneSide runner{to_daemon, to_runner, Fd(runner_wake), Fd(::dup(daemon_wake)), Side::kRunner};
};

size_t bytes_of(uint64_t number) {
  return number % 16 == 0 ? number * 97 % 1025 : number % 49;
}

// Sends `messages` numbered bodies and sleeps whenever there is no room.
void produce(Lane& lane, uint64_t messages) {
  for (uint64_t number = 0; number < messages; ++number) {
    ASSERT_NE(lane.send(MessageType::kDelta, body_of(number, bytes_of(number))), SendOutcome::kRefused);
    if (number % 7 == 0) lane.flush();
    const uint64_t start_ns = monotonic_ns();
    while (lane.outbox_bytes() > 2000) {
      lane.wait(number % 3 * kMicrosecond_ns, kPatience_ns, -1);
      ASSERT_LT(monotonic_ns() - start_ns, kPatience_ns) << "no room was signalled";
    }
  }
  while (lane.outbox_bytes() != 0) lane.wait(0, kPatience_ns, -1);
  lane.flush();
}

void consume(Lane& lane, uint64_t messages) {
  uint64_t number = 0;
  while (number < messages) {
    const uint64_t start_ns = monotonic_ns();
    lane.wait(number % 2 * kMicrosecond_ns, kPatience_ns, -1);
    ASSERT_LT(monotonic_ns() - start_ns, kPatience_ns) << "no message was signalled after " << number;
    const auto handled = lane.drain(1 + number % 5, [&number](MessageType, std::span<const std::byte> body) {
      const auto expected = body_of(number, bytes_of(number));
      ASSERT_TRUE(std::equal(body.begin(), body.end(), expected.begin(), expected.end())) << number;
      ++number;
    });
    ASSERT_TRUE(handled);
    lane.flush();
  }
}

TEST(LaneThreads, AStreamThroughATinyRingArrivesWholeAndWakesBothSides) {
  OneMapping lane;
  std::thread producer([&lane] { produce(lane.runner, 30'000); });
  consume(lane.daemon, 30'000);
  producer.join();
}

TEST(LaneThreads, QuestionsAndAnswersSleepAndWakeInTurn) {
  OneMapping lane;
  constexpr uint64_t kTurns = 3000;
  std::thread answering([&lane] {
    for (uint64_t turn = 0; turn < kTurns;) {
      lane.runner.wait(0, kPatience_ns, -1);
      const auto handled = lane.runner.drain(1, [&lane](MessageType, std::span<const std::byte> body) {
        lane.runner.send(MessageType::kAnswer, body);
      });
      turn += *handled;
      lane.runner.flush();
    }
  });
  for (uint64_t turn = 0; turn < kTurns;) {
    lane.daemon.send(MessageType::kQuery, body_of(turn, 24));
    lane.daemon.flush();
    const uint64_t expected = turn + 1;
    while (turn < expected) {
      const uint64_t start_ns = monotonic_ns();
      lane.daemon.wait(0, kPatience_ns, -1);
      ASSERT_LT(monotonic_ns() - start_ns, kPatience_ns) << "no answer was signalled in turn " << turn;
      turn += *lane.daemon.drain(1, [turn](MessageType, std::span<const std::byte> body) {
        const auto sent = body_of(turn, 24);
        ASSERT_TRUE(std::equal(body.begin(), body.end(), sent.begin(), sent.end()));
      });
    }
  }
  answering.join();
}

TEST(LaneThreads, GaugesAreReadWholeWhileTheyAreWritten) {
  OneMapping lane;
  constexpr uint64_t kWrites = 50'000;
  std::thread writer([&lane] {
    for (uint64_t number = 1; number <= kWrites; ++number) {
      lane.runner.publish_gauges({.prefill_tokens_per_second = static_cast<double>(number),
                                  .kv_blocks_free = static_cast<uint32_t>(number),
                                  .prefix_hits_total = number});
      lane.runner.count_step();
    }
    lane.runner.record_death({.kind = 3, .number = 1, .text = {'e', 'n', 'd'}});
  });
  uint64_t last = 0;
  const uint64_t start_ns = monotonic_ns();
  while (last < kWrites && monotonic_ns() - start_ns < kPatience_ns) {
    const Gauges gauges = lane.daemon.read_gauges();
    ASSERT_EQ(gauges.prefill_tokens_per_second, static_cast<double>(gauges.prefix_hits_total));
    ASSERT_EQ(gauges.kv_blocks_free, gauges.prefix_hits_total);
    ASSERT_GE(gauges.prefix_hits_total, last);
    last = gauges.prefix_hits_total;
  }
  writer.join();
  EXPECT_EQ(last, kWrites);
  EXPECT_EQ(lane.daemon.progress().steps, kWrites);
  EXPECT_STREQ(lane.daemon.death_cause().text.data(), "end");
}

}  // namespace
}  // namespace deepserve::ipc
