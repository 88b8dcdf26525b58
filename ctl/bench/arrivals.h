// When requests arrive: a renewal process whose gaps are gamma-distributed, seeded. Pure.
//
// The coefficient of variation of the gaps is the burstiness: 1 is a Poisson process (exponential gaps), 4 is
// bursty traffic, near 0 a metronome. (vLLM's --burstiness is the gamma's shape, 1 / CV^2.)
#pragma once

#include <cstdint>
#include <random>

namespace deepserve::ctl::bench {

class Arrivals {
 public:
  // A rate above 0 requests/s and a CV above 0.
  Arrivals(double rate_per_s, double gap_cv, uint64_t seed);

  // The instant of the next arrival, in nanoseconds from the start; never decreasing.
  uint64_t next_ns();

 private:
  std::mt19937_64 generator_;
  std::gamma_distribution<double> gap_s_;
  double at_s_ = 0;
};

}  // namespace deepserve::ctl::bench
