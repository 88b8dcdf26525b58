// Times round trips in blocks, so that a core stolen for milliseconds spoils one block and not the figure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ipc/base/clock.h"

namespace deepserve::bench {

inline constexpr uint64_t kTripsPerBlock = 1000;

// Calls trip(n) for n = 0.. `trips` - 1 (a multiple of kTripsPerBlock); the median block's nanoseconds for
// one.
template <typename Trip>
double median_trip_ns(uint64_t trips, Trip&& trip) {
  std::vector<double> blocks_ns;
  for (uint64_t n = 0; n < trips;) {
    const uint64_t start_ns = monotonic_ns();
    for (uint64_t i = 0; i < kTripsPerBlock; ++i) trip(n++);
    blocks_ns.push_back(static_cast<double>(monotonic_ns() - start_ns) / kTripsPerBlock);
  }
  std::nth_element(blocks_ns.begin(), blocks_ns.begin() + blocks_ns.size() / 2, blocks_ns.end());
  return blocks_ns[blocks_ns.size() / 2];
}

}  // namespace deepserve::bench
