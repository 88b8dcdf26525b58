// How long a model that is unloaded for want of requests has gone without one so far, and from that when the
// next is to be expected: it can be loaded ahead of it (DESIGN 9). Pure: time is told.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace deepserve::daemon {

// After the end of the last request.
struct ExpectedDemand {
  uint64_t from_ns = 0;
  uint64_t until_ns = 0;
};

class DemandHistory {
 public:
  static constexpr size_t kPausesMin = 4;   // fewer say nothing
  static constexpr size_t kPausesMax = 32;  // of those before them nobody knows any more

  // A request came so long after the one before had ended. Of pauses that are long enough to be unloaded in.
  void add(uint64_t pause_ns);
  // Where 8 of 10 pauses have ended; all of them while there are fewer than 10. None where that is wider than
  // `width_max_ns`: a model that is loaded ahead would be kept for nothing for too long.
  std::optional<ExpectedDemand> expected(uint64_t width_max_ns) const;

  const std::deque<uint64_t>& pauses_ns() const { return pauses_ns_; }  // the oldest first

 private:
  std::deque<uint64_t> pauses_ns_;
};

}  // namespace deepserve::daemon
