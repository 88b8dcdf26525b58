#include "ctl/bench/arrivals.h"

#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {

// A gamma distribution of shape k and scale s has the mean k s and the CV 1 / sqrt(k).
Arrivals::Arrivals(double rate_per_s, double gap_cv, uint64_t seed)
    : generator_(seed), gap_s_(1 / (gap_cv * gap_cv), gap_cv * gap_cv / rate_per_s) {}

uint64_t Arrivals::next_ns() {
  at_s_ += gap_s_(generator_);
  return static_cast<uint64_t>(at_s_ * static_cast<double>(kSecond_ns));
}

}  // namespace deepserve::ctl::bench
