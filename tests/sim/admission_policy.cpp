#include "tests/sim/admission_policy.h"

#include "tests/sim/random.h"

namespace deepserve::sim {

daemon::AdmissionOptions AdmissionPolicy::options_of(const PolicyOptions& options) {
  daemon::AdmissionOptions result;
  result.runners = options.runners;
  result.ticket_epoch = options.seed;
  result.first_booking = mixed(options.seed) >> 1 | 1;
  for (size_t i = 0; i < result.ticket_key.size(); ++i) {
    result.ticket_key[i] = static_cast<uint8_t>(mixed(options.seed + i));
  }
  for (size_t i = 0; i < result.classes.size(); ++i) result.classes[i].deadline_ns = kDeadlines_ns[i];
  return result;
}

}  // namespace deepserve::sim
