// How far what a GPU computed is from what it should be.
#pragma once

#include <cmath>
#include <cstddef>

namespace deepserve {

// ||out - exact|| / ||exact||; NaN, which is less than nothing, where any of `out` is, and where it is not of
// exact's size.
template <typename A, typename B>
double relative_error(const A& out, const B& exact) {
  if (out.size() != exact.size()) return NAN;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double delta = static_cast<double>(out[i]) - static_cast<double>(exact[i]);
    difference += delta * delta;
    norm += static_cast<double>(exact[i]) * static_cast<double>(exact[i]);
  }
  return std::sqrt(difference / norm);
}

}  // namespace deepserve
