// A producer or a consumer dies at any point and a new one is built over the same memory. Death is simulated
// by leaving the old end as it is and never touching it again; tests/crash/lane_kill does it with SIGKILL.
#include <gtest/gtest.h>

#include "ipc/lane/ring.h"
#include "tests/unit/ipc/lane_fixture.h"

namespace deepserve::ipc {
namespace {

class RingRecovery : public testing::Test {
 protected:
  RingView view() const { return ring_view(*memory); }
  std::shared_ptr<MappedDirection> memory = make_direction();
};

TEST_F(RingRecovery, ANewConsumerGetsWhatWasNotFinishedAgain) {
  RingProducer producer(view());
  for (uint64_t number = 0; number < 5; ++number) ASSERT_TRUE(producer.try_send(1, body_of(number, 100)));
  producer.publish();
  {
    RingConsumer dying(view());
    ASSERT_EQ(drain_all(dying, 2).size(), 2u);
    // It handles message 2 and dies before it stores the head: the store is what we undo.
    const uint64_t head = memory->ring_words().head.load();
    drain_all(dying, 1);
    memory->ring_words().head.store(head);
  }
  RingConsumer next(view());
  const auto got = drain_all(next);
  ASSERT_EQ(got.size(), 3u);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(got[i].body, body_of(2 + i, 100));
}

TEST_F(RingRecovery, ANewProducerGoesOnBehindTheLastPublishedMessage) {
  RingConsumer consumer(view());
  {
    RingProducer dying(view());
    for (uint64_t number = 0; number < 3; ++number) ASSERT_TRUE(dying.try_send(1, body_of(number, 200)));
    dying.publish();
    ASSERT_TRUE(dying.try_send(1, body_of(77, 200)));  // written, never published
  }
  RingProducer next(view());
  EXPECT_EQ(next.published(), 3u);
  for (uint64_t number = 3; number < 6; ++number) ASSERT_TRUE(next.try_send(1, body_of(number, 200)));
  next.publish();
  const auto got = drain_all(consumer);
  ASSERT_EQ(got.size(), 6u);
  for (uint64_t i = 0; i < 6; ++i) EXPECT_EQ(got[i].body, body_of(i, 200));
}

TEST_F(RingRecovery, ANewProducerDoesNotOverwriteBodiesThatWaitForTheConsumer) {
  RingConsumer consumer(view());
  {
    RingProducer dying(view());
    for (uint64_t number = 0; number < 4; ++number) ASSERT_TRUE(dying.try_send(1, body_of(number, 1000)));
    dying.publish();
  }
  RingProducer next(view());
  EXPECT_FALSE(next.try_send(1, body_of(4, 1000)));  // the byte ring is full of the dead one's bodies
  EXPECT_EQ(drain_all(consumer, 2).size(), 2u);
  ASSERT_TRUE(next.try_send(1, body_of(4, 1000)));
  next.publish();
  const auto got = drain_all(consumer);
  ASSERT_EQ(got.size(), 3u);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(got[i].body, body_of(2 + i, 1000));
}

TEST_F(RingRecovery, AProducerThatDiesWithinPublishLeavesAPrefix) {
  RingConsumer consumer(view());
  {
    RingProducer dying(view());
    for (uint64_t number = 0; number < 4; ++number) ASSERT_TRUE(dying.try_send(1, body_of(number, 20)));
    // The first two stores of publish(), then death.
    for (uint64_t index = 0; index < 2; ++index)
      memory->slots()[index].words[0].store(sequence_word(1, index));
  }
  RingProducer next(view());
  EXPECT_EQ(next.published(), 2u);
  ASSERT_TRUE(next.try_send(1, body_of(50, 20)));
  next.publish();
  const auto got = drain_all(consumer);
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(got[1].body, body_of(1, 20));
  EXPECT_EQ(got[2].body, body_of(50, 20));
}

TEST_F(RingRecovery, ManyDeathsOfBothEndsLoseNothing) {
  uint64_t received = 0;
  for (int life = 0; life < 500; ++life) {
    RingProducer producer(view());
    RingConsumer consumer(view());
    for (uint64_t sent = 0; sent < 1 + life % 11u; ++sent) {
      const uint64_t number = producer.tail();
      if (!producer.try_send(1, body_of(number, number * 53 % 1025))) break;
      if (sent % 2 == 0) producer.publish();
    }
    for (const auto& one : drain_all(consumer, life % 7)) {
      ASSERT_EQ(one.body, body_of(received, received * 53 % 1025))
          << "message " << received << " in life " << life;
      ++received;
    }
  }
  EXPECT_GT(received, 1000u);
}

TEST_F(RingRecovery, SlotsOfAnotherEpochAreNotMessages) {
  RingView earlier = view();
  earlier.epoch = 9;
  RingProducer stranger(earlier);
  ASSERT_TRUE(stranger.try_send(1, body_of(0, 10)));
  stranger.publish();
  RingConsumer consumer(view());
  EXPECT_FALSE(consumer.has_message());
  EXPECT_TRUE(drain_all(consumer).empty());
}

}  // namespace
}  // namespace deepserve::ipc
