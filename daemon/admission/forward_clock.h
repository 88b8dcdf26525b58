// Time that never goes back, out of a clock that may. Pure.
//
// A reading behind the latest one counts as standing still: a single bad one does no harm. Where the clock
// stays behind for kStandsStill_ns of its own time it was set back, and time goes on from where it stood: no
// deadline, no fading and no limit waits for the clock to catch up. A leap ahead is believed: whoever had a
// deadline in between was not served.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "ipc/base/clock.h"

namespace deepserve::daemon {

class ForwardClock {
 public:
  static constexpr uint64_t kStandsStill_ns = kSecond_ns;

  // The time by the reading `at_ns`; from now on it is no less.
  uint64_t advance(uint64_t at_ns) {
    const uint64_t read_ns = of_reading(at_ns);
    if (read_ns >= now_ns_) {
      now_ns_ = read_ns;
      back_ns_.reset();
    } else if (!back_ns_ || read_ns < *back_ns_) {
      back_ns_ = read_ns;
    } else if (read_ns - *back_ns_ > kStandsStill_ns) {
      behind_ns_ += now_ns_ - read_ns;
      back_ns_.reset();
    }
    return now_ns_;
  }
  // The same without moving it.
  uint64_t at(uint64_t at_ns) const { return std::max(now_ns_, of_reading(at_ns)); }
  uint64_t now_ns() const { return now_ns_; }

  // Of an instant by the clock, and back.
  uint64_t of_reading(uint64_t at_ns) const {
    return at_ns > UINT64_MAX - behind_ns_ ? UINT64_MAX : at_ns + behind_ns_;
  }
  uint64_t to_reading(uint64_t now_ns) const { return now_ns - std::min(now_ns, behind_ns_); }

 private:
  uint64_t now_ns_ = 0;
  uint64_t behind_ns_ = 0;           // by how much the clock was set back, in all
  std::optional<uint64_t> back_ns_;  // the first reading after it went back, while time stands still
};

}  // namespace deepserve::daemon
