// Tells a hung runner from a slow one: by its step counter, or by the bytes it has loaded (DESIGN 5, 10).
// Pure.
#pragma once

#include <cstdint>

#include "ipc/lane/gauges.h"

namespace deepserve::daemon {

class ProgressWatch {
 public:
  enum class Phase : uint8_t { kLoading, kServing };

  // `tick_ns`: how far apart the ticks are meant to be. A tick that comes later than twice that says that dsd
  // itself did not run on time, so its time is not held against the runner.
  ProgressWatch(uint64_t tick_ns, uint64_t hang_after_ns, uint64_t load_hang_after_ns)
      : tick_ns_(tick_ns), hang_after_ns_(hang_after_ns), load_hang_after_ns_(load_hang_after_ns) {}

  // From the next tick on.
  void set_limits(uint64_t hang_after_ns, uint64_t load_hang_after_ns) {
    hang_after_ns_ = hang_after_ns;
    load_hang_after_ns_ = load_hang_after_ns;
  }
  // A new process: nothing is known of it.
  void reset() { *this = ProgressWatch(tick_ns_, hang_after_ns_, load_hang_after_ns_); }

  struct Verdict {
    bool moved = false;    // since the last tick
    bool stepped = false;  // its step counter did
    bool hung = false;
  };
  Verdict tick(uint64_t now_ns, Phase phase, const ipc::Progress& progress);

 private:
  uint64_t tick_ns_;
  uint64_t hang_after_ns_;
  uint64_t load_hang_after_ns_;
  ipc::Progress last_{};
  Phase phase_ = Phase::kLoading;
  uint64_t last_tick_ns_ = 0;
  uint64_t stood_still_ns_ = 0;  // counted in ticks that were on time
};

}  // namespace deepserve::daemon
