// How long the GPU is at work on steps.
#pragma once

#include "runner/backend/cuda/stream_timer.h"

namespace deepserve::runner::cuda {

class StepClock {
 public:
  static Result<StepClock> make() {
    StepClock clock;
    TRY_ASSIGN(clock.begin_, make_timed_event());
    TRY_ASSIGN(clock.end_, make_timed_event());
    return clock;
  }

  // What comes into the stream from here on is the step's; where the GPU waits for the host to start the next
  // kernel, that counts as work.
  Result<void> begin(cudaStream_t stream) { return checked(cudaEventRecord(begin_.get(), stream), "a step"); }
  // Has `wait`, a Result<void>(), wait for the step, whose error it gives.
  template <typename Wait>
  Result<void> end(cudaStream_t stream, const Wait& wait) {
    float milliseconds = 0;
    TRY(checked(cudaEventRecord(end_.get(), stream), "a step"));
    TRY(wait());
    TRY(checked(cudaEventElapsedTime(&milliseconds, begin_.get(), end_.get()), "a step"));
    seconds_ += static_cast<double>(milliseconds) / 1e3;
    return {};
  }
  double seconds() const { return seconds_; }

 private:
  Event begin_, end_;
  double seconds_ = 0;
};

}  // namespace deepserve::runner::cuda
