#include "ctl/bench/capacity_search.h"

#include <algorithm>
#include <cmath>

namespace deepserve::ctl::bench {

bool is_sustained(const Tally& tally) {
  constexpr double kWithin_slo_min = 0.99;
  constexpr double kGrowth_max = 0.05;  // seconds of TTFT per second
  const ClassTally all = tally.all();
  if (all.arrived == 0) return false;
  if (static_cast<double>(all.within_slo) < kWithin_slo_min * static_cast<double>(all.arrived)) return false;
  const auto [early_s, late_s] = tally.ttft_of_halves_s();
  return late_s <= 2 * early_s + kGrowth_max * tally.window_s() / 2;
}

CapacitySearch::CapacitySearch(double first_rate_per_s)
    : next_(std::min(first_rate_per_s, kRate_max_per_s)) {}

std::optional<double> CapacitySearch::next_rate_per_s() const {
  if (probes_ == kProbes_max || sustained_ >= kRate_max_per_s) return std::nullopt;
  if (sustained_ > 0 && failed_ > 0 && failed_ <= sustained_ * kPrecision) return std::nullopt;
  return next_;
}

void CapacitySearch::tell(bool sustained) {
  ++probes_;
  (sustained ? sustained_ : failed_) = next_;
  if (failed_ == 0) {
    next_ = std::min(2 * sustained_, kRate_max_per_s);
  } else if (sustained_ == 0) {
    next_ = failed_ / 2;
  } else {
    next_ = std::sqrt(sustained_ * failed_);
  }
}

}  // namespace deepserve::ctl::bench
