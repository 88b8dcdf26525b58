// How long the GPU is at work on steps.
#pragma once

#include <array>

#include "runner/backend/cuda/stream_timer.h"

namespace deepserve::runner::cuda {

// Of up to two steps under way, one behind the other in a stream.
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

  // What comes into the stream from here on is the next step's, up to end(); where the GPU waits for the host
  // to start the next kernel, that counts as work.
  Result<void> begin(cudaStream_t stream) {
    return checked(cudaEventRecord(steps_[begun_++ % steps_.size()].begin.get(), stream), "a step");
  }
  Result<void> end(cudaStream_t stream) {
    return checked(cudaEventRecord(steps_[(begun_ - 1) % steps_.size()].end.get(), stream), "a step");
  }
  // Has `wait`, a Result<void>(cudaEvent_t), wait for the end of the step that was begun first, and gives its
  // error.
  template <typename Wait>
  Result<void> finish(const Wait& wait) {
    const Events& step = steps_[finished_++ % steps_.size()];
    float milliseconds = 0;
    TRY(wait(step.end.get()));
    TRY(checked(cudaEventElapsedTime(&milliseconds, step.begin.get(), step.end.get()), "a step"));
    seconds_ += static_cast<double>(milliseconds) / 1e3;
    return {};
  }
  // Whether it would have to.
  bool is_over() const {
    return begun_ == finished_ ||
           cudaEventQuery(steps_[finished_ % steps_.size()].end.get()) != cudaErrorNotReady;
  }
  double seconds() const { return seconds_; }

 private:
  struct Events {
    Event begin, end;
  };
  std::array<Events, 2> steps_;
  uint64_t begun_ = 0;
  uint64_t finished_ = 0;
  double seconds_ = 0;
};

}  // namespace deepserve::runner::cuda
