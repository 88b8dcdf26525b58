#include "ctl/bench/capacity_search.h"

#include <algorithm>
#include <cmath>

namespace deepserve::ctl::bench {

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
