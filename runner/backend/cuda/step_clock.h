// How long the GPU is at work on steps.
#pragma once

#include <array>

#include "runner/backend/cuda/stream_timer.h"

namespace deepserve::runner::cuda {

// Of two steps under way, one behind the other in a stream, each has a side.
class StepClock {
 public:
  static Result<StepClock> make() {
    StepClock clock;
    for (Events& step : clock.steps_) {
      TRY_ASSIGN(step.begin, make_timed_event());
      TRY_ASSIGN(step.end, make_timed_event());
    }
    return clock;
  }

  // What comes into the stream from here on is the step's of this side, up to end(); where the GPU waits for
  // the host to start the next kernel, that counts as work.
  Result<void> begin(size_t side, cudaStream_t stream) {
    return checked(cudaEventRecord(steps_[side].begin.get(), stream), "a step");
  }
  Result<void> end(size_t side, cudaStream_t stream) {
    return checked(cudaEventRecord(steps_[side].end.get(), stream), "a step");
  }
  // Has `wait`, a Result<void>(cudaEvent_t), wait for the end of that step, and gives its error.
  template <typename Wait>
  Result<void> finish(size_t side, const Wait& wait) {
    const Events& step = steps_[side];
    float milliseconds = 0;
    TRY(wait(step.end.get()));
    TRY(checked(cudaEventElapsedTime(&milliseconds, step.begin.get(), step.end.get()), "a step"));
    seconds_ += static_cast<double>(milliseconds) / 1e3;
    return {};
  }
  // Whether it would have to.
  bool is_over(size_t side) const { return cudaEventQuery(steps_[side].end.get()) != cudaErrorNotReady; }
  double seconds() const { return seconds_; }

 private:
  struct Events {
    Event begin, end;
  };
  std::array<Events, 2> steps_;
  double seconds_ = 0;
};

}  // namespace deepserve::runner::cuda
