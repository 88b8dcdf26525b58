// How much work a model's runners get done in a second while work waits for them: GPU-seconds, by the price
// that requests are charged (service_time.h), which is that of a full batch. Pure.
//
// The price is an ideal: prefill shares steps with decodes, a batch is not always full, a vip prefill holds
// decodes up. What waits drains at what is really done, so that is what waits and promises are reckoned with.
// Counted while something waits alone: an idle runner says nothing of what it could do. Until then: 1.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace deepserve::daemon {

class Throughput {
 public:
  static constexpr double kFading_s = 20.0;  // of time in which something waits
  // It is told many times a second. A longer time is a clock that leapt, or a daemon that was stopped: nobody
  // looked at what was done in it.
  static constexpr double kLooked_s = 1.0;
  static constexpr double kPrior_s = 2.0;  // the first guess counts as much as so long a time

  // So much was done just now.
  void done(double cost) {
    if (waits_) cost_ += cost;
  }
  // Whether something waits, from now on.
  void set_waits(bool waits, uint64_t now_ns) {
    if (waits_ && now_ns > since_ns_) {
      const double seconds = std::min(kLooked_s, static_cast<double>(now_ns - since_ns_) * 1e-9);
      const double keep = std::exp(-seconds / kFading_s);
      cost_ *= keep;
      seconds_ = seconds_ * keep + seconds;
    }
    since_ns_ = std::max(since_ns_, now_ns);
    waits_ = waits;
  }
  // Of one runner, where `runners` share the work.
  double per_runner(double runners) const {
    return std::clamp((cost_ / std::max(1.0, runners) + kPrior_s) / (seconds_ + kPrior_s), 0.1, 4.0);
  }

 private:
  double cost_ = 0;
  double seconds_ = 0;
  uint64_t since_ns_ = 0;
  bool waits_ = false;
};

}  // namespace deepserve::daemon
