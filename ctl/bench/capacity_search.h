// Finds the highest rate that a server sustains, by doubling and then bisection. Pure: who asks runs the
// probes.
#pragma once

#include <optional>

#include "ctl/bench/tally.h"

namespace deepserve::ctl::bench {

// Whether a probe shows a rate that could go on for ever: at least 99 % within the SLO, and no backlog that
// grows. Within a short probe a generous TTFT hides such a backlog, so the mean TTFT may grow from the first
// half of the window to the second by no more than itself and 5 % of the time between (which a rate of 1.05
// times the capacity would make it grow).
bool is_sustained(const Tally& tally);

class CapacitySearch {
 public:
  static constexpr unsigned kProbes_max = 16;
  static constexpr double kPrecision = 1.06;  // found when the lowest failure is at most so many times it
  static constexpr double kRate_max_per_s = 100'000;

  // Starts at a rate above 0.
  explicit CapacitySearch(double first_rate_per_s);

  // The rate to probe next; nothing once the capacity is known to kPrecision or the probes are used up.
  std::optional<double> next_rate_per_s() const;
  // How the probe of that rate ended: did it sustain the load?
  void tell(bool sustained);

  // The highest rate that was sustained; 0: none was.
  double capacity_per_s() const { return sustained_; }
  unsigned probes() const { return probes_; }

 private:
  double next_;
  double sustained_ = 0;
  double failed_ = 0;  // 0: none yet
  unsigned probes_ = 0;
};

}  // namespace deepserve::ctl::bench
