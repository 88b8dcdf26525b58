// Keeps a value that is far off for once from counting for more than it should: what passes is within a
// factor of the median of the last three. A change that stays shows in full one value late.
#pragma once

#include <algorithm>

namespace deepserve::runner {

class OutlierFilter {
 public:
  static constexpr double kFactorMax = 1.4;

  // The first two values, which must be positive as all are, pass as they are.
  double add(double value) {
    const double last = last_, second_last = second_last_;
    second_last_ = last_;
    last_ = value;
    if (second_last <= 0) return value;
    const double median = std::max(std::min(value, last), std::min(std::max(value, last), second_last));
    return std::clamp(value, median / kFactorMax, median * kFactorMax);
  }

 private:
  double last_ = 0;
  double second_last_ = 0;
};

}  // namespace deepserve::runner
