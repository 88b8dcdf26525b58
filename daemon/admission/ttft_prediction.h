// When a request's first token comes: the wait in the queue and the start at a runner, each stretched by what
// such predictions were worth of late (residual_quantile.h). Of one model. Pure.
#pragma once

#include <array>
#include <cstdint>

#include "daemon/admission/residual_quantile.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

struct PredictedTtft {
  double expected_s = 0;   // before it is stretched
  double stretched_s = 0;  // nine of ten are within
  double likely_s = 0;     // one of two is within; of vip one of ten, and more behind other vips
  double start_s = 0;      // on arrival: nine of ten are within, were it first in line
  bool waits = false;      // others are to go first

  // What has to be within the deadline. One who would take the place of others has to be sure of making it;
  // to refuse one for whom nobody has to wait makes a sure miss of what is likely to be none; and nothing
  // but other vips that a vip would hold up counts as much as a vip that is refused on suspicion.
  double to_admit_by_s() const { return waits ? kWaitMargin * stretched_s : likely_s; }
  // Who waits and is then refused all the same had better been told at once.
  static constexpr double kWaitMargin = 1.1;
};

class TtftPrediction {
 public:
  static constexpr size_t kClasses = static_cast<size_t>(ipc::Class::kCount);

  // Of the way from what one of ten vips is within to what nine of ten are: it has to be within the deadline
  // of a vip that others are ahead of. In a burst of vips it is no use to begin them all.
  static constexpr double kBehind = 0.4;

  // On arrival: `wait_s` in the queue, then `start_s` at a runner; `behind`: others of its class or a higher
  // one are to be prefilled there.
  PredictedTtft on_arrival(ipc::Class service_class, double wait_s, double start_s, bool behind) const {
    const auto& residual = arrivals_[static_cast<size_t>(service_class)];
    const double expected_s = wait_s + start_s;
    return {expected_s, residual.stretched(expected_s), likely(service_class, behind, residual, expected_s),
            starts_[static_cast<size_t>(service_class)].stretched(start_s), wait_s > 0};
  }
  // On dispatch: what is left once the queue is behind it.
  PredictedTtft on_dispatch(ipc::Class service_class, double start_s, bool behind) const {
    const auto& residual = starts_[static_cast<size_t>(service_class)];
    return {start_s, residual.stretched(start_s), likely(service_class, behind, residual, start_s), 0, false};
  }
  void arrived(ipc::Class service_class, const PredictedTtft& said, double actual_s) {
    arrivals_[static_cast<size_t>(service_class)].add(said.expected_s, said.stretched_s, actual_s);
  }
  void dispatched(ipc::Class service_class, const PredictedTtft& said, double actual_s) {
    starts_[static_cast<size_t>(service_class)].add(said.expected_s, said.stretched_s, actual_s);
  }

 private:
  static double likely(ipc::Class service_class, bool behind, const ResidualQuantile& residual,
                       double expected_s) {
    if (service_class != ipc::Class::kVip) return residual.median(expected_s);
    const double least_s = residual.least(expected_s);
    return behind ? least_s + kBehind * (residual.stretched(expected_s) - least_s) : least_s;
  }

  std::array<ResidualQuantile, kClasses> arrivals_;
  std::array<ResidualQuantile, kClasses> starts_;
};

}  // namespace deepserve::daemon
