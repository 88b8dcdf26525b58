#include "daemon/admission/kv_forecast.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace deepserve::daemon {
namespace {

// Step by step, as it would happen.
uint64_t peak_by_steps(std::vector<KvHolder> holders) {
  uint64_t peak = 0;
  while (!holders.empty()) {
    uint64_t held = 0;
    for (auto& holder : holders) {
      if (holder.remaining > 0) ++holder.tokens;
      held += holder.tokens;
    }
    peak = std::max(peak, held);
    std::erase_if(holders, [](auto& holder) { return holder.remaining-- <= 1; });
  }
  return peak;
}

TEST(KvForecast, IsThePeakThatStepsWouldReach) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<KvHolder> holders(1 + random() % 20);
    for (auto& holder : holders) {
      holder = {static_cast<uint32_t>(random() % 500), static_cast<uint32_t>(1 + random() % 300)};
    }
    const auto expected = peak_by_steps(holders);
    EXPECT_EQ(kv_blocks_peak(holders, 1), expected);
  }
}

TEST(KvForecast, OneThatEndsSoonMakesRoomForAnother) {
  std::vector<KvHolder> both = {{1000, 1}, {10, 900}};
  EXPECT_LT(kv_blocks_peak(both, 16), (1000 + 1 + 10 + 900) / 16u);
}

TEST(KvForecast, EveryLastBlockCountsAsFull) {
  std::vector<KvHolder> holders = {{1, 0}, {1, 0}, {17, 0}};
  EXPECT_EQ(kv_blocks_peak(holders, 16), 4u);
}

}  // namespace
}  // namespace deepserve::daemon
