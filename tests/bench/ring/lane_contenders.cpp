#include <sys/eventfd.h>

#include <array>

#include "ipc/base/check.h"
#include "ipc/lane/lane_side.h"
#include "ipc/lane/wake.h"
#include "tests/bench/ring/contenders.h"
#include "tests/bench/ring/pair_of_processes.h"
#include "tests/bench/ring/round_trips.h"

namespace deepserve::bench {
namespace {

using namespace deepserve::ipc;  // the lane is what this file is about

constexpr uint64_t kBatch = 64;
constexpr LaneSizes kSizes{.slots = 1024, .body_bytes = 1u << 16};
constexpr uint64_t kSpinAlways_ns = 10 * kSecond_ns;

using Body = std::array<uint64_t, kInlineWords>;

Body numbered(uint64_t number) {
  return {number, 0, 0, 0, 0, number};
}

void check_number(std::span<const std::byte> bytes, uint64_t number) {
  CHECK(bytes.size() == kInline_bytes);
  uint64_t first = 0;
  uint64_t last = 0;
  std::memcpy(&first, bytes.data(), sizeof first);
  std::memcpy(&last, bytes.data() + kInline_bytes - sizeof last, sizeof last);
  CHECK(first == number && last == number);
}

// A mapped direction with the eventfd that wakes its consumer.
struct Path {
  explicit Path(Direction direction) : wake(eventfd(0, EFD_NONBLOCK)) {
    const auto memfd = create_direction(kSizes, 0, direction, 1);
    CHECK(memfd);
    memory = *MappedDirection::map(*memfd, direction, 1);
    view = ring_view(*memory);
  }
  std::shared_ptr<MappedDirection> memory;
  RingView view;
  Fd wake;
};

void send(RingProducer& producer, uint64_t number) {
  const Body body = numbered(number);
  CHECK(producer.try_send(1, std::as_bytes(std::span(body))));
  producer.publish();
}

// What Lane::flush does: one fence for the message that was published and for the room that was made.
void wake(const Path& out, const Path& in) {
  fence_before_wake();
  wake_sleeper(out.memory->ring_words().armed, out.wake.get());
  wake_sleeper(in.memory->ring_words().starved, in.wake.get());
}

// Receives one message by spinning.
void receive(RingConsumer& consumer, uint64_t number) {
  while (!consumer.has_message()) relax_processor();
  const auto handled =
      consumer.drain(1, [number](uint16_t, std::span<const std::byte> body) { check_number(body, number); });
  CHECK(handled == 1);
}

// Attaches one side of a lane inside the process that will use it.
std::unique_ptr<Lane> attach(const LaneFds& fds, Side side) {
  auto copy = duplicate(fds);
  CHECK(copy);
  auto lane = Lane::attach(std::move(*copy), side, 1);
  CHECK(lane);
  return std::move(*lane);
}

void send_through(Lane& lane, uint64_t number) {
  const Body body = numbered(number);
  CHECK(lane.send(MessageType::kDelta, std::as_bytes(std::span(body))) == SendOutcome::kSent);
  lane.flush();
}

void receive_through(Lane& lane, const Handler& handler) {
  while (!lane.wait(kSpinAlways_ns, kSpinAlways_ns, -1)) continue;
  const auto handled = lane.drain(1, handler);
  CHECK(handled && *handled == 1);
}

}  // namespace

double one_way_ring(uint64_t messages) {
  const Path path(Direction::kToDaemon);
  const auto produce = [&] {
    RingProducer producer(path.view);
    for (uint64_t number = 0; number < messages; ++number) {
      const Body body = numbered(number);
      while (!producer.try_send(1, std::as_bytes(std::span(body)))) relax_processor();
      if (number % kBatch == kBatch - 1 || number + 1 == messages) {
        producer.publish();
        fence_before_wake();
        wake_sleeper(path.memory->ring_words().armed, path.wake.get());
      }
    }
  };
  const auto consume = [&] {
    RingConsumer consumer(path.view);
    uint64_t number = 0;
    while (number < messages) {
      const size_t handled = consumer.drain(
          kBatch, [&number](uint16_t, std::span<const std::byte> body) { check_number(body, number++); });
      // As in LaneSide: what a starving producer must not miss is told behind a fence before the consumer
      // idles.
      if (handled < kBatch) fence_before_wake();
      wake_sleeper(path.memory->ring_words().starved, path.wake.get());
      for (int i = 0; handled == 0 && i < kStreamPauses; ++i) relax_processor();
    }
  };
  return static_cast<double>(messages) / run_pair(produce, consume);
}

double one_way_lane(uint64_t messages) {
  const auto fds = create_lane(kSizes, 1);
  CHECK(fds);
  const auto consumer = attach(*fds, Side::kDaemon);
  const auto producer = attach(*fds, Side::kRunner);
  const auto produce = [&] {
    for (uint64_t number = 0; number < messages; ++number) {
      const Body body = numbered(number);
      const auto outcome = producer->send(MessageType::kDelta, std::as_bytes(std::span(body)));
      if (number % kBatch == kBatch - 1 || number + 1 == messages) producer->flush();
      while (outcome != SendOutcome::kSent && producer->outbox_bytes() != 0) {
        relax_processor();
        producer->flush();
      }
    }
  };
  const auto consume = [&] {
    uint64_t number = 0;
    const Handler handler = [&number](MessageType, std::span<const std::byte> body) {
      check_number(body, number++);
    };
    while (number < messages) {
      consumer->wait(kSpinAlways_ns, kSpinAlways_ns, -1);
      CHECK(consumer->drain(kBatch, handler));
    }
  };
  return static_cast<double>(messages) / run_pair(produce, consume);
}

double round_trip_ring(uint64_t trips) {
  const Path there(Direction::kToRunner);
  const Path back(Direction::kToDaemon);
  double trip_ns = 0;
  const auto answer = [&] {
    RingConsumer consumer(there.view);
    RingProducer producer(back.view);
    for (uint64_t number = 0; number < trips; ++number) {
      receive(consumer, number);
      send(producer, number);
      wake(back, there);
    }
  };
  const auto ask = [&] {
    RingProducer producer(there.view);
    RingConsumer consumer(back.view);
    trip_ns = median_trip_ns(trips, [&](uint64_t number) {
      send(producer, number);
      wake(there, back);
      receive(consumer, number);
    });
  };
  run_pair(answer, ask);
  return trip_ns;
}

double round_trip_lane(uint64_t trips) {
  const auto fds = create_lane(kSizes, 1);
  CHECK(fds);
  const auto runner = attach(*fds, Side::kRunner);
  const auto daemon = attach(*fds, Side::kDaemon);
  double trip_ns = 0;
  const auto answer = [&] {
    uint64_t number = 0;
    const Handler handler = [&](MessageType, std::span<const std::byte> body) {
      check_number(body, number);
      send_through(*runner, number);
    };
    for (; number < trips; ++number) receive_through(*runner, handler);
  };
  const auto ask = [&] {
    uint64_t expected = 0;
    const Handler handler = [&](MessageType, std::span<const std::byte> body) {
      check_number(body, expected);
    };
    trip_ns = median_trip_ns(trips, [&](uint64_t number) {
      expected = number;
      send_through(*daemon, number);
      receive_through(*daemon, handler);
    });
  };
  run_pair(answer, ask);
  return trip_ns;
}

}  // namespace deepserve::bench
