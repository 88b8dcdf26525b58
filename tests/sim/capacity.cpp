#include "tests/sim/capacity.h"

#include "tests/sim/tally.h"

namespace deepserve::sim {
namespace {

constexpr double kSuccess = 0.99;
constexpr int kHalvings = 9;

bool bears(SimulationOptions options, double rate, uint32_t seeds) {
  options.capacity = rate;
  options.demand = usual_demand(Mix::kVipFixed, ArrivalKind::kPoisson, 1);
  options.demand.retries = {0, 0, 1};
  options.faults.clear();
  Tally tally;
  for (uint32_t i = 0; i < seeds; ++i, ++options.seed) tally.add(options, simulate(options));
  return tally.success() >= kSuccess;
}

}  // namespace

double find_capacity(const SimulationOptions& options, uint32_t seeds) {
  double low = 0;
  double high = 1;
  while (bears(options, high, seeds)) {
    low = high;
    high *= 2;
  }
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    (bears(options, middle, seeds) ? low : high) = middle;
  }
  return low;
}

}  // namespace deepserve::sim
