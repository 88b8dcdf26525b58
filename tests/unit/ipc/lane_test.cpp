#include "ipc/lane/lane.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <thread>

#include "ipc/base/clock.h"
#include "tests/unit/ipc/lane_fixture.h"

namespace deepserve::ipc {
namespace {

constexpr auto kType = MessageType::kDelta;

std::vector<std::byte> number_body(uint64_t number) {
  return body_of(number, 8);
}

TEST(Lane, MessagesGoBothWaysInOrder) {
  const BothSides lane;
  EXPECT_EQ(lane.daemon->send(MessageType::kSubmit, body_of(1, 900)), SendOutcome::kSent);
  EXPECT_EQ(lane.daemon->send(MessageType::kCancel, {}), SendOutcome::kSent);
  lane.daemon->flush();
  const auto at_runner = drain_all(*lane.runner);
  ASSERT_EQ(at_runner.size(), 2u);
  EXPECT_EQ(at_runner[0], (Received{1, body_of(1, 900)}));
  EXPECT_EQ(at_runner[1], (Received{2, {}}));
  lane.runner->send(MessageType::kAccepted, body_of(2, 16));
  lane.runner->flush();
  EXPECT_EQ(drain_all(*lane.daemon), (std::vector<Received>{{64, body_of(2, 16)}}));
}

TEST(Lane, AMessageOfTheLargestSizeArrivesAndALargerOneIsOurOwnBug) {
  const BothSides lane;
  EXPECT_EQ(lane.daemon->body_bytes_max(), 1024u);
  lane.daemon->send(kType, body_of(1, 1024));
  lane.daemon->flush();
  EXPECT_EQ(drain_all(*lane.runner)[0].body, body_of(1, 1024));
  EXPECT_DEATH(lane.daemon->send(kType, body_of(1, 1025)), "CHECK failed");
}

TEST(Lane, AFullRingNeverBlocksAndTheOutboxKeepsTheOrder) {
  const BothSides lane;
  for (uint64_t number = 0; number < 8; ++number) {
    EXPECT_EQ(lane.runner->send(kType, number_body(number)), SendOutcome::kSent);
  }
  for (uint64_t number = 8; number < 100; ++number) {
    EXPECT_EQ(lane.runner->send(kType, number_body(number)), SendOutcome::kQueued);
  }
  EXPECT_GT(lane.runner->outbox_bytes(), 0u);
  uint64_t received = 0;
  while (received < 100) {
    lane.runner->flush();
    for (const auto& one : drain_all(*lane.daemon)) EXPECT_EQ(one.body, number_body(received++));
  }
  EXPECT_EQ(lane.runner->outbox_bytes(), 0u);
}

TEST(Lane, AFullOutboxRefusesAndLosesNothingThatItTook) {
  const BothSides lane;
  uint64_t taken = 0;
  while (lane.runner->send(kType, body_of(taken, 1000)) != SendOutcome::kRefused) ++taken;
  EXPECT_LE(lane.runner->outbox_bytes(), kOutbox_bytes_max);
  EXPECT_GT(lane.runner->outbox_bytes(), kOutbox_bytes_max - 2000);
  uint64_t received = 0;
  while (received < taken) {
    lane.runner->flush();
    for (const auto& one : drain_all(*lane.daemon)) ASSERT_EQ(one.body, body_of(received++, 1000));
  }
  EXPECT_EQ(lane.runner->send(kType, body_of(taken, 1000)), SendOutcome::kSent);
}

TEST(Lane, OnlyAnArmedSideIsSignalled) {
  const BothSides lane;
  lane.daemon->disarm();  // takes the signal that attaching gave
  lane.runner->send(kType, number_body(0));
  lane.runner->flush();
  EXPECT_FALSE(is_signalled(lane.daemon->wake_fd()));
  drain_all(*lane.daemon);
  EXPECT_TRUE(lane.daemon->arm());
  lane.runner->send(kType, number_body(1));
  lane.runner->flush();
  EXPECT_TRUE(is_signalled(lane.daemon->wake_fd()));
  lane.runner->send(kType, number_body(2));
  lane.runner->flush();
  EXPECT_FALSE(is_signalled(lane.daemon->wake_fd()));  // one sleep, one signal
}

TEST(Lane, ArmingSaysNoWhenThereIsSomethingToDrain) {
  const BothSides lane;
  lane.runner->send(kType, number_body(0));
  lane.runner->flush();
  EXPECT_FALSE(lane.daemon->arm());
  drain_all(*lane.daemon);
  EXPECT_TRUE(lane.daemon->arm());
}

TEST(Lane, AStarvingWriterIsSignalledWhenRoomIsMade) {
  const BothSides lane;
  for (uint64_t number = 0; number < 20; ++number) lane.runner->send(kType, number_body(number));
  EXPECT_TRUE(lane.runner->arm());  // nothing to drain, no room: sleep
  lane.runner->disarm();
  EXPECT_TRUE(lane.runner->arm());
  EXPECT_EQ(drain_all(*lane.daemon).size(), 8u);
  lane.daemon->flush();
  EXPECT_TRUE(is_signalled(lane.runner->wake_fd()));
  lane.runner->disarm();
  lane.runner->flush();
  EXPECT_EQ(drain_all(*lane.daemon).size(), 8u);
  lane.runner->flush();
  EXPECT_EQ(drain_all(*lane.daemon).size(), 4u);
}

TEST(Lane, NobodySleepsOnRoomThatArmingFindsForTheOutbox) {
  const BothSides lane;
  for (uint64_t number = 0; number < 12; ++number) lane.runner->send(kType, number_body(number));
  lane.runner->flush();
  drain_all(*lane.daemon);
  EXPECT_FALSE(lane.runner->arm());  // the last four went out: who waited for room may go on producing
  EXPECT_EQ(lane.runner->outbox_bytes(), 0u);
  EXPECT_EQ(drain_all(*lane.daemon).size(), 4u);
  EXPECT_TRUE(lane.runner->arm());
}

TEST(Lane, WaitReturnsWhenTheOutboxGotRoomAlthoughNoMessageCame) {
  const BothSides lane;
  lane.runner->disarm();
  for (uint64_t number = 0; number < 12; ++number) lane.runner->send(kType, number_body(number));
  lane.runner->flush();
  drain_all(*lane.daemon);
  const uint64_t start_ns = monotonic_ns();
  EXPECT_FALSE(lane.runner->wait(0, 60 * kSecond_ns, -1));
  EXPECT_LT(monotonic_ns() - start_ns, 30 * kSecond_ns);
  EXPECT_EQ(lane.runner->outbox_bytes(), 0u);
}

TEST(Lane, AttachingWakesThePeer) {
  const BothSides lane;
  lane.daemon->disarm();
  EXPECT_TRUE(lane.daemon->arm());
  const auto next = lane.attach(Side::kRunner);
  EXPECT_TRUE(is_signalled(lane.daemon->wake_fd()));
}

TEST(Lane, WaitEndsWithAMessage) {
  const BothSides lane;
  std::thread sender([&lane] {
    // Sends only once the waiter sleeps, so that the signal is what ends the wait.
    const auto memory = *MappedDirection::map(lane.fds.to_daemon, Direction::kToDaemon, 1);
    while (memory->ring_words().armed.load() == 0) std::this_thread::yield();
    lane.runner->send(kType, number_body(0));
    lane.runner->flush();
  });
  bool has_message = false;
  while (!has_message) has_message = lane.daemon->wait(0, 60 * kSecond_ns, -1);
  sender.join();
  EXPECT_EQ(drain_all(*lane.daemon).size(), 1u);
}

TEST(Lane, WaitEndsWhenItsTimeIsOver) {
  const BothSides lane;
  lane.daemon->disarm();
  const uint64_t start_ns = monotonic_ns();
  EXPECT_FALSE(lane.daemon->wait(kMicrosecond_ns, 5 * kMillisecond_ns, -1));
  EXPECT_GE(monotonic_ns() - start_ns, 4 * kMillisecond_ns);
}

TEST(Lane, WaitEndsWhenTheOtherDescriptorHangsUp) {
  const BothSides lane;
  lane.daemon->disarm();
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd reading(ends[0]);
  ::close(ends[1]);
  EXPECT_FALSE(lane.daemon->wait(0, 60 * kSecond_ns, reading.get()));
}

TEST(Lane, AHandlerMayAnswerWhileItDrains) {
  const BothSides lane;
  for (uint64_t number = 0; number < 5; ++number) lane.daemon->send(MessageType::kQuery, number_body(number));
  lane.daemon->flush();
  ASSERT_TRUE(lane.runner->drain(10, [&lane](MessageType, std::span<const std::byte> body) {
    lane.runner->send(MessageType::kAnswer, body);
  }));
  lane.runner->flush();
  EXPECT_EQ(drain_all(*lane.daemon).size(), 5u);
}

TEST(Lane, ARestartedRunnerGoesOnWhereThePublishedMessagesEnd) {
  BothSides lane;
  for (uint64_t number = 0; number < 5; ++number) lane.runner->send(kType, number_body(number));
  lane.runner->flush();
  lane.runner->send(kType, number_body(99));  // never flushed: dies with its process
  lane.runner = lane.attach(Side::kRunner);
  EXPECT_EQ(lane.runner->published_count(), 5u);
  lane.runner->send(kType, number_body(5));
  lane.runner->flush();
  const auto got = drain_all(*lane.daemon);
  ASSERT_EQ(got.size(), 6u);
  for (uint64_t number = 0; number < 6; ++number) EXPECT_EQ(got[number].body, number_body(number));
}

TEST(Lane, ARestartedDaemonGoesOnWhereTheHandledMessagesEnd) {
  BothSides lane;
  for (uint64_t number = 0; number < 5; ++number) lane.runner->send(kType, number_body(number));
  lane.runner->flush();
  ASSERT_TRUE(lane.daemon->drain(3, [](MessageType, std::span<const std::byte>) {}));
  lane.daemon = lane.attach(Side::kDaemon);
  EXPECT_EQ(lane.daemon->handled_count(), 3u);
  const auto got = drain_all(*lane.daemon);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].body, number_body(3));
}

}  // namespace
}  // namespace deepserve::ipc
