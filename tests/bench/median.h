// The median of what several rounds measured.
#pragma once

#include <algorithm>
#include <vector>

namespace deepserve::bench {

// The upper one of an even number. `values` holds at least one.
inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace deepserve::bench
