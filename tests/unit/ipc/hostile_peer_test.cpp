// The peer may store anything anywhere in what it shares with us. Nothing it stores may crash us or make us
// read outside (run this in the asan build).
#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/unit/ipc/lane_fixture.h"

namespace deepserve::ipc {
namespace {

uint64_t meta_word(uint32_t body_bytes, uint16_t type, uint16_t place) {
  return body_bytes | static_cast<uint64_t>(type) << 32 | static_cast<uint64_t>(place) << 48;
}

// Publishes a forged slot as message 0.
void forge(MappedDirection& memory, uint64_t meta, uint64_t position) {
  memory.slots()[0].words[1].store(meta);
  memory.slots()[0].words[2].store(position);
  memory.slots()[0].words[0].store(sequence_word(1, 0));
}

std::string what_drain_says(uint64_t meta, uint64_t position) {
  const auto memory = make_direction();
  forge(*memory, meta, position);
  RingConsumer consumer(ring_view(*memory));
  EXPECT_TRUE(drain_all(consumer).empty());
  if (!consumer.lie()) return "";
  EXPECT_EQ(consumer.lie()->code, Code::kBadLane);
  return consumer.lie()->message;
}

TEST(HostilePeer, ALengthThatDoesNotFitItsPlaceIsALie) {
  EXPECT_NE(what_drain_says(meta_word(49, 1, 0), 0), "");
  EXPECT_NE(what_drain_says(meta_word(0xffffffff, 1, 0), 0), "");
  EXPECT_NE(what_drain_says(meta_word(1025, 1, 1), 0), "");
  EXPECT_NE(what_drain_says(meta_word(0xffffffff, 1, 1), 0), "");
}

TEST(HostilePeer, APlaceThatDoesNotExistIsALie) {
  EXPECT_NE(what_drain_says(meta_word(8, 1, 2), 0), "");
}

TEST(HostilePeer, APositionThatIsNoWordsIsALie) {
  EXPECT_NE(what_drain_says(meta_word(100, 1, 1), 3), "");
}

TEST(HostilePeer, APositionFarOutsideIsMaskedIntoTheByteRing) {
  const auto memory = make_direction();
  forge(*memory, meta_word(1024, 1, 1), ~uint64_t{7});
  RingConsumer consumer(ring_view(*memory));
  EXPECT_EQ(drain_all(consumer).size(), 1u);  // rubbish, but ours to read
}

TEST(HostilePeer, ALieReachesTheCallerOfDrainAsBadLane) {
  const BothSides lane;
  const auto memory = *MappedDirection::map(lane.fds.to_daemon, Direction::kToDaemon, 1);
  forge(*memory, meta_word(9999, 1, 1), 0);
  const auto handled = lane.daemon->drain(10, [](MessageType, std::span<const std::byte>) { FAIL(); });
  ASSERT_FALSE(handled);
  EXPECT_EQ(handled.error().code, Code::kBadLane);
}

TEST(HostilePeer, MessagesBeforeALieAreHandled) {
  const BothSides lane;
  lane.runner->send(MessageType::kDelta, body_of(0, 8));
  lane.runner->send(MessageType::kDelta, body_of(1, 8));
  lane.runner->flush();
  const auto memory = *MappedDirection::map(lane.fds.to_daemon, Direction::kToDaemon, 1);
  memory->slots()[1].words[1].store(meta_word(9999, 1, 1));
  int handled = 0;
  const auto end = lane.daemon->drain(10, [&handled](MessageType, std::span<const std::byte>) { ++handled; });
  EXPECT_FALSE(end);
  EXPECT_EQ(handled, 1);
  EXPECT_EQ(lane.daemon->handled_count(), 1u);
}

TEST(HostilePeer, AHeadBeyondTheTailOrBackwardsGivesNoRoomAndIsNamed) {
  for (const uint64_t head : {uint64_t{9}, ~uint64_t{0}, uint64_t{1} << 63}) {
    const BothSides lane;
    for (uint64_t number = 0; number < 8; ++number)
      lane.runner->send(MessageType::kDelta, body_of(number, 8));
    lane.runner->flush();
    const auto memory = *MappedDirection::map(lane.fds.to_daemon, Direction::kToDaemon, 1);
    memory->ring_words().head.store(head);
    EXPECT_EQ(lane.runner->send(MessageType::kDelta, body_of(8, 8)), SendOutcome::kQueued);
    const auto handled = lane.runner->drain(1, [](MessageType, std::span<const std::byte>) {});
    ASSERT_FALSE(handled);
    EXPECT_EQ(handled.error().code, Code::kBadLane);
  }
}

// Word stores, relaxed, so that the sanitizers see no race but the one that is meant.
void scribble(std::span<std::byte> memory, std::mt19937_64& random, size_t stores) {
  auto* words = reinterpret_cast<std::atomic<uint64_t>*>(memory.data());
  for (size_t i = 0; i < stores; ++i)
    words[random() % (memory.size() / 8)].store(random(), std::memory_order_relaxed);
}

// Slots that look right up to one random word, so that the scribbling gets past the sequence check.
void forge_near_miss(MappedDirection& memory, uint64_t head, std::mt19937_64& random) {
  for (uint64_t index = head; index < head + 4; ++index) {
    Slot& slot = memory.slots()[index % memory.facts().slots];
    slot.words[1].store(meta_word(static_cast<uint32_t>(random() >> (random() % 64)), 1, random() % 3));
    slot.words[2].store(random());
    slot.words[0].store(sequence_word(1, index));
  }
}

// Every operation of one side, whatever the memory holds.
void use_everything(LaneSide& lane, std::mt19937_64& random) {
  const auto ignore = [](MessageType, std::span<const std::byte> body) {
    volatile std::byte last = body.empty() ? std::byte{} : body.back();
    (void)last;
  };
  (void)lane.drain(16, ignore);
  lane.send(MessageType::kDelta, body_of(1, random() % 1025));
  lane.flush();
  (void)lane.arm();
  lane.disarm();
  (void)lane.read_gauges();
  (void)lane.progress();
  (void)lane.death_cause();
}

TEST(HostilePeer, RandomBytesOverBothMemoriesNeverCrashAReaderOrAWriter) {
  const uint64_t seed = std::random_device{}();
  std::cout << "seed " << seed << "\n";
  std::mt19937_64 random(seed);
  for (int round = 0; round < 60; ++round) {
    const BothSides lane(kSmall, round % 2 == 0 ? 0 : kFeatureSlotCrc);
    const auto to_daemon = *MappedDirection::map(lane.fds.to_daemon, Direction::kToDaemon, 1);
    const auto to_runner = *MappedDirection::map(lane.fds.to_runner, Direction::kToRunner, 1);
    for (int step = 0; step < 50; ++step) {
      scribble(to_daemon->memory(), random, 40);
      scribble(to_runner->memory(), random, 40);
      forge_near_miss(*to_daemon, lane.daemon->handled_count(), random);
      use_everything(*lane.daemon, random);
    }
    // Recovery over rubbish must be as safe as everything else.
    RingProducer producer(ring_view(*to_runner));
    RingConsumer consumer(ring_view(*to_daemon));
    drain_all(consumer);
    producer.try_send(1, body_of(1, 1000));
  }
}

TEST(HostilePeer, RandomBytesOverTheMemoryWhileAReaderDrainsNeverCrashIt) {
  const BothSides lane;
  const auto memory = *MappedDirection::map(lane.fds.to_daemon, Direction::kToDaemon, 1);
  std::atomic<bool> done = false;
  std::thread scribbler([&] {
    std::mt19937_64 random(7);
    while (!done.load()) {
      scribble(memory->memory().subspan(memory->facts().offsets.ring_words / 8 * 8), random, 64);
      forge_near_miss(*memory, memory->ring_words().head.load() % 1000, random);
    }
  });
  std::mt19937_64 random(11);
  for (int turn = 0; turn < 20'000; ++turn) {
    LaneSide& reader = *lane.daemon;
    (void)reader.drain(16, [](MessageType, std::span<const std::byte> body) {
      volatile size_t size = body.size();
      (void)size;
    });
    (void)reader.read_gauges();
    (void)reader.death_cause();
  }
  done.store(true);
  scribbler.join();
}

TEST(HostilePeer, ARandomHeaderIsRefusedAndNeverBelieved) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 300; ++round) {
    const auto memfd = create_direction(kSmall, 0, Direction::kToDaemon, 1);
    const auto mapped = *MappedDirection::map(*memfd, Direction::kToDaemon, 1);
    HeaderFacts& facts = mapped->header().facts;
    auto* bytes = reinterpret_cast<std::byte*>(&facts);
    for (int turned = 0; turned < 3; ++turned)
      bytes[random() % sizeof facts] = static_cast<std::byte>(random());
    mapped->header().checksum = checksum_of(facts);  // a peer can do that, too
    const auto again = MappedDirection::map(*memfd, Direction::kToDaemon, 1);
    if (again) {
      EXPECT_EQ((*again)->facts().offsets, *offsets_of(kSmall, 0));
    }
  }
}

}  // namespace
}  // namespace deepserve::ipc
