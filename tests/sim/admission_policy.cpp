#include "tests/sim/admission_policy.h"

namespace deepserve::sim {

daemon::AdmissionOptions AdmissionPolicy::options_of(const PolicyOptions& options) {
  daemon::AdmissionOptions result;
  result.runners = options.runners;
  constexpr double kShares[] = {0.70, 0.25, 0.05};
  for (size_t i = 0; i < result.classes.size(); ++i) {
    result.classes[i] = {kShares[i], 10'000, kDeadlines_ns[i]};
  }
  return result;
}

}  // namespace deepserve::sim
