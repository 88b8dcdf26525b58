// One GPU as it was last seen: what the readings of gpu_monitor.h are kept as, for all who show them.
#pragma once

#include <cstdint>
#include <map>

#include "daemon/gpu/gpus.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

struct GpuState {
  static constexpr uint64_t kStale_ns = 5 * kSecond_ns;  // an older reading says nothing of now
  static constexpr size_t kXidKindsMax = 32;             // that are counted apart
  static constexpr uint64_t kOtherXids = ~uint64_t{0};   // the number that all others are counted under

  GpuIdentity identity;
  GpuReading reading = {};
  uint64_t read_ns = 0;                    // CLOCK_MONOTONIC, before the driver was asked; 0: it never was
  std::map<uint64_t, uint64_t> xids = {};  // number -> times, since dsd has watched

  // Whether it answered lately. One that does not may be lost, or its driver hangs.
  bool answers(uint64_t now_ns) const {
    return read_ns != 0 && reading.trouble.empty() && now_ns - read_ns < kStale_ns;
  }
  void count(uint64_t xid) {
    const bool apart = xids.contains(xid) || xids.size() < kXidKindsMax;
    ++xids[apart ? xid : kOtherXids];
  }
};

}  // namespace deepserve::daemon
