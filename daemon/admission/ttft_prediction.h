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
  double likely_s = 0;     // one of two is within, of vip one of ten
  double start_s = 0;      // on arrival: nine of ten are within, were it first in line
  bool waits = false;      // others are to go first

  // What has to be within the deadline. One who would take the place of others has to be sure of making it;
  // to refuse one for whom nobody has to wait makes a sure miss of what is likely to be none; and nothing
  // that a vip would hold up counts as much as a vip that is refused on suspicion.
  double to_admit_by_s() const { return waits ? stretched_s : likely_s; }
};

class TtftPrediction {
 public:
  static constexpr size_t kClasses = static_cast<size_t>(ipc::Class::kCount);

  // On arrival: `wait_s` in the queue, then `start_s` at a runner.
  PredictedTtft on_arrival(ipc::Class service_class, double wait_s, double start_s) const {
    const auto& residual = arrivals_[static_cast<size_t>(service_class)];
    const double expected_s = wait_s + start_s;
    return {expected_s, residual.stretched(expected_s), likely(service_class, residual, expected_s),
            starts_[static_cast<size_t>(service_class)].stretched(start_s), wait_s > 0};
  }
  // On dispatch: what is left once the queue is behind it.
  PredictedTtft on_dispatch(ipc::Class service_class, double start_s) const {
    const auto& residual = starts_[static_cast<size_t>(service_class)];
    return {start_s, residual.stretched(start_s), likely(service_class, residual, start_s), 0, false};
  }
  void arrived(ipc::Class service_class, const PredictedTtft& said, double actual_s) {
    arrivals_[static_cast<size_t>(service_class)].add(said.expected_s, said.stretched_s, actual_s);
  }
  void dispatched(ipc::Class service_class, const PredictedTtft& said, double actual_s) {
    starts_[static_cast<size_t>(service_class)].add(said.expected_s, said.stretched_s, actual_s);
  }

 private:
  static double likely(ipc::Class service_class, const ResidualQuantile& residual, double expected_s) {
    return service_class == ipc::Class::kVip ? residual.least(expected_s) : residual.median(expected_s);
  }

  std::array<ResidualQuantile, kClasses> arrivals_;
  std::array<ResidualQuantile, kClasses> starts_;
};

}  // namespace deepserve::daemon
