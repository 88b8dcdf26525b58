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
};

class TtftPrediction {
 public:
  static constexpr size_t kClasses = static_cast<size_t>(ipc::Class::kCount);

  // On arrival: `wait_s` in the queue, then `start_s` at a runner.
  PredictedTtft on_arrival(ipc::Class service_class, double wait_s, double start_s) const {
    const double expected_s = wait_s + start_s;
    return {expected_s, arrivals_[static_cast<size_t>(service_class)].stretched(expected_s)};
  }
  // On dispatch: what is left once the queue is behind it.
  PredictedTtft on_dispatch(ipc::Class service_class, double start_s) const {
    return {start_s, starts_[static_cast<size_t>(service_class)].stretched(start_s)};
  }
  void arrived(ipc::Class service_class, const PredictedTtft& said, double actual_s) {
    arrivals_[static_cast<size_t>(service_class)].add(said.expected_s, said.stretched_s, actual_s);
  }
  void dispatched(ipc::Class service_class, const PredictedTtft& said, double actual_s) {
    starts_[static_cast<size_t>(service_class)].add(said.expected_s, said.stretched_s, actual_s);
  }

 private:
  std::array<ResidualQuantile, kClasses> arrivals_;
  std::array<ResidualQuantile, kClasses> starts_;
};

}  // namespace deepserve::daemon
