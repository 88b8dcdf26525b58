// Finds the highest rate that a server sustains, by doubling and then bisection. Pure: who asks runs the
// probes.
#pragma once

#include <optional>

namespace deepserve::ctl::bench {

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
