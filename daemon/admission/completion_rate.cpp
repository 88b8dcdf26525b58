#include "daemon/admission/completion_rate.h"

#include <algorithm>
#include <cmath>

namespace deepserve::daemon {
namespace {

constexpr double kFading_s = 10.0;

double faded(double weight, uint64_t from_ns, uint64_t to_ns) {
  return weight * std::exp(-static_cast<double>(to_ns - from_ns) * 1e-9 / kFading_s);
}

}  // namespace

void CompletionRate::count(uint64_t now_ns) {
  if (first_ns_ == 0) first_ns_ = now_ns;
  weight_ = faded(weight_, counted_ns_, std::max(now_ns, counted_ns_)) + 1.0;
  counted_ns_ = std::max(now_ns, counted_ns_);
}

double CompletionRate::per_second(uint64_t now_ns) const {
  if (first_ns_ == 0) return 0;
  const uint64_t at_ns = std::max(now_ns, counted_ns_);
  // Over a short history the fading window is not full yet: divide by the part that is (at least one second).
  const double age_s = static_cast<double>(at_ns - first_ns_) * 1e-9;
  const double window_s = std::max(1.0, kFading_s * (1.0 - std::exp(-age_s / kFading_s)));
  return faded(weight_, counted_ns_, at_ns) / window_s;
}

uint64_t CompletionRate::retry_after_ms(uint32_t ahead, uint64_t now_ns) const {
  const double rate = per_second(now_ns);
  if (rate <= 0) return kRetryAfterMin_ms;
  const double wait_ms = 1000.0 * static_cast<double>(ahead) / rate;
  return static_cast<uint64_t>(
      std::clamp(wait_ms, static_cast<double>(kRetryAfterMin_ms), static_cast<double>(kRetryAfterMax_ms)));
}

}  // namespace deepserve::daemon
