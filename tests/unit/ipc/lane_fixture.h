// What the lane's tests share: small lanes, both sides of them, bodies that can be checked.
#pragma once

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <string>
#include <vector>

#include "ipc/lane/lane_side.h"

namespace deepserve::ipc {

inline constexpr LaneSizes kSmall{.slots = 8, .body_bytes = 4096};

inline std::shared_ptr<MappedDirection> make_direction(Direction direction = Direction::kToDaemon,
                                                       LaneSizes sizes = kSmall, uint32_t features = 0) {
  const auto memfd = create_direction(sizes, features, direction, 1);
  EXPECT_TRUE(memfd);
  return *MappedDirection::map(*memfd, direction, 1);
}

// A body of that size whose every byte follows from `number`.
inline std::vector<std::byte> body_of(uint64_t number, size_t bytes) {
  std::vector<std::byte> body(bytes);
  for (size_t i = 0; i < bytes; ++i) body[i] = static_cast<std::byte>(number * 31 + i * 7 + (i >> 8));
  return body;
}

struct Received {
  uint16_t type = 0;
  std::vector<std::byte> body;
  bool operator==(const Received&) const = default;
};

inline std::vector<Received> drain_all(RingConsumer& consumer, size_t messages_max = 1000) {
  std::vector<Received> all;
  consumer.drain(messages_max, [&all](uint16_t type, std::span<const std::byte> body) {
    all.push_back({type, {body.begin(), body.end()}});
  });
  return all;
}

// Both sides of one lane in this process, as two mappings.
struct BothSides {
  explicit BothSides(LaneSizes sizes = kSmall, uint32_t features = 0) {
    auto made = create_lane_with(sizes, 1, features);
    EXPECT_TRUE(made);
    fds = std::move(*made);
    daemon = attach(Side::kDaemon);
    runner = attach(Side::kRunner);
  }
  std::unique_ptr<LaneSide> attach(Side side) const {
    auto lane = LaneSide::attach_side(std::move(*duplicate(fds)), side, 1);
    EXPECT_TRUE(lane) << lane.error().message;
    return std::move(*lane);
  }
  LaneFds fds;
  std::unique_ptr<LaneSide> daemon;
  std::unique_ptr<LaneSide> runner;
};

inline std::vector<Received> drain_all(Lane& lane) {
  std::vector<Received> all;
  const auto handled = lane.drain(100'000, [&all](MessageType type, std::span<const std::byte> body) {
    all.push_back({static_cast<uint16_t>(type), {body.begin(), body.end()}});
  });
  EXPECT_TRUE(handled);
  return all;
}

inline bool is_signalled(int eventfd) {
  eventfd_t count = 0;
  return ::eventfd_read(eventfd, &count) == 0;
}

}  // namespace deepserve::ipc
