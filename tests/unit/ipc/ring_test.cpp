#include "ipc/lane/ring.h"

#include <gtest/gtest.h>

#include "tests/unit/ipc/lane_fixture.h"

namespace deepserve::ipc {
namespace {

class Ring : public testing::TestWithParam<uint32_t> {
 protected:
  std::shared_ptr<MappedDirection> memory = make_direction(Direction::kToDaemon, kSmall, GetParam());
  RingProducer producer{ring_view(*memory)};
  RingConsumer consumer{ring_view(*memory)};
};

TEST_P(Ring, NothingIsSeenBeforeItIsPublished) {
  ASSERT_TRUE(producer.try_send(3, body_of(0, 10)));
  EXPECT_FALSE(consumer.has_message());
  EXPECT_EQ(producer.publish(), 1u);
  EXPECT_TRUE(consumer.has_message());
  EXPECT_EQ(drain_all(consumer), (std::vector<Received>{{3, body_of(0, 10)}}));
}

TEST_P(Ring, BodiesOfEverySizeUpToALargeOneArriveWhole) {
  for (size_t bytes = 0; bytes <= 300; ++bytes) {
    ASSERT_TRUE(producer.try_send(static_cast<uint16_t>(bytes), body_of(bytes, bytes)));
    producer.publish();
    const auto got = drain_all(consumer);
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].type, bytes);
    EXPECT_EQ(got[0].body, body_of(bytes, bytes));
  }
}

TEST_P(Ring, SlotsAndBodiesWrapAroundManyTimesInOrder) {
  uint64_t received = 0;
  for (uint64_t number = 0; number < 5000; ++number) {
    const size_t bytes = number * 97 % 1025;  // up to a quarter of the byte ring
    while (!producer.try_send(1, body_of(number, bytes))) {
      producer.publish();
      for (const auto& one : drain_all(consumer, 3)) {
        ASSERT_EQ(one.body, body_of(received, received * 97 % 1025)) << received;
        ++received;
      }
    }
    if (number % 3 == 0) producer.publish();
  }
  producer.publish();
  received += drain_all(consumer).size();
  EXPECT_EQ(received, 5000u);
  EXPECT_FALSE(consumer.lie());
}

TEST_P(Ring, AFullRingOfSlotsTakesNoMoreUntilTheHeadHasPassed) {
  for (uint64_t number = 0; number < 8; ++number) ASSERT_TRUE(producer.try_send(1, body_of(number, 8)));
  EXPECT_FALSE(producer.try_send(1, body_of(8, 8)));
  producer.publish();
  EXPECT_EQ(drain_all(consumer, 1).size(), 1u);
  EXPECT_TRUE(producer.try_send(1, body_of(8, 8)));
  EXPECT_FALSE(producer.try_send(1, body_of(9, 8)));
}

TEST_P(Ring, AFullByteRingTakesSmallBodiesOnly) {
  for (uint64_t number = 0; number < 4; ++number) ASSERT_TRUE(producer.try_send(1, body_of(number, 1024)));
  EXPECT_FALSE(producer.has_room(49));
  EXPECT_FALSE(producer.try_send(1, body_of(4, 49)));
  EXPECT_TRUE(producer.try_send(1, body_of(4, 48)));
  producer.publish();
  EXPECT_EQ(drain_all(consumer, 1).size(), 1u);
  EXPECT_TRUE(producer.has_room(1024));
  EXPECT_FALSE(producer.has_room(1025 + 7));
}

TEST_P(Ring, ADrainStopsAtItsLimitAndGoesOnThere) {
  for (uint64_t number = 0; number < 6; ++number) ASSERT_TRUE(producer.try_send(1, body_of(number, 4)));
  producer.publish();
  EXPECT_EQ(drain_all(consumer, 4).size(), 4u);
  EXPECT_EQ(consumer.head(), 4u);
  const auto rest = drain_all(consumer);
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_EQ(rest[0].body, body_of(4, 4));
}

TEST_P(Ring, TheHeadIsStoredOnlyAfterHandling) {
  ASSERT_TRUE(producer.try_send(1, body_of(0, 4)));
  producer.publish();
  const auto& head = memory->ring_words().head;
  consumer.drain(10, [&head](uint16_t, std::span<const std::byte>) { EXPECT_EQ(head.load(), 0u); });
  EXPECT_EQ(head.load(), 1u);
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutSlotCrc, Ring, testing::Values(0u, kFeatureSlotCrc));

TEST(RingChecksum, FindsATornSlotAndATornBody) {
  for (const bool in_body : {false, true}) {
    const auto memory = make_direction(Direction::kToDaemon, kSmall, kFeatureSlotCrc);
    RingProducer producer(ring_view(*memory));
    RingConsumer consumer(ring_view(*memory));
    ASSERT_TRUE(producer.try_send(1, body_of(0, in_body ? 500 : 40)));
    producer.publish();
    auto& word = in_body ? memory->body_words()[30] : memory->slots()[0].words[4];
    word.store(word.load() ^ 1);
    EXPECT_TRUE(drain_all(consumer).empty());
    ASSERT_TRUE(consumer.lie());
    EXPECT_EQ(consumer.lie()->code, Code::kBadLane);
    EXPECT_NE(consumer.lie()->message.find("checksum"), std::string::npos);
  }
}

TEST(RingSequence, HoldsEpochAndIndexAndIsNeverAFreshSlots) {
  EXPECT_EQ(sequence_word(1, 0), (1ull << 40) | 1);
  EXPECT_EQ(sequence_word(3, 41), (3ull << 40) | 42);
  EXPECT_NE(sequence_word(1, kIndexMask), 0u);
  EXPECT_EQ(sequence_word(1, kIndexMask + 1), sequence_word(1, 0));
}

}  // namespace
}  // namespace deepserve::ipc
