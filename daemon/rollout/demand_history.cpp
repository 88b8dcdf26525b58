#include "daemon/rollout/demand_history.h"

#include <algorithm>
#include <vector>

namespace deepserve::daemon {

void DemandHistory::add(uint64_t pause_ns) {
  pauses_ns_.push_back(pause_ns);
  if (pauses_ns_.size() > kPausesMax) pauses_ns_.pop_front();
}

std::optional<ExpectedDemand> DemandHistory::expected(uint64_t width_max_ns) const {
  if (pauses_ns_.size() < kPausesMin) return std::nullopt;
  std::vector<uint64_t> sorted(pauses_ns_.begin(), pauses_ns_.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t beyond = sorted.size() / 10;  // on either side
  const ExpectedDemand expected{sorted[beyond], sorted[sorted.size() - 1 - beyond]};
  if (expected.until_ns - expected.from_ns > width_max_ns) return std::nullopt;
  return expected;
}

}  // namespace deepserve::daemon
