// The two processes that are killed: one produces numbered messages for ever, one consumes and books them.
#pragma once

#include <cstdint>

#include "ipc/lane/lane.h"
#include "tests/crash/lane_kill/ledger.h"

namespace deepserve::crash {

struct Campaign {
  uint64_t seed = 0;
  ipc::Side producing = ipc::Side::kRunner;
  const ipc::LaneFds* fds = nullptr;
  Ledger* ledger = nullptr;
  std::atomic<uint64_t>* messages_max = nullptr;  // the producer stops before this number
};

inline constexpr ipc::LaneSizes kSizes{.slots = 64, .body_bytes = 128u << 10};

// Run in a forked child; they return only when the campaign is over. `life` counts the forks of that side
// from 1 and varies their habits. Exit status.
int run_producer(const Campaign& campaign, uint32_t life);
int run_consumer(const Campaign& campaign, uint32_t life);

}  // namespace deepserve::crash
