// How long work in a stream takes on the GPU.
#pragma once

#include <algorithm>
#include <vector>

#include "runner/backend/cuda/device_memory.h"

namespace deepserve::runner::cuda {

inline Result<Event> make_timed_event() {
  cudaEvent_t event = nullptr;
  TRY(checked(cudaEventCreateWithFlags(&event, 0), "an event"));
  return Event(event);
}

// Of each of `runs` times of `work`, a Result<void>() that puts itself into `stream`, after one that does not
// count: in order, the shortest first.
template <typename Work>
Result<std::vector<double>> seconds_of(cudaStream_t stream, int runs, const Work& work) {
  TRY_ASSIGN(const Event begin, make_timed_event());
  TRY_ASSIGN(const Event end, make_timed_event());
  std::vector<double> seconds;
  TRY(work());
  for (int run = 0; run < runs; ++run) {
    float milliseconds = 0;
    TRY(checked(cudaEventRecord(begin.get(), stream), "timing"));
    TRY(work());
    TRY(checked(cudaEventRecord(end.get(), stream), "timing"));
    TRY(checked(cudaEventSynchronize(end.get()), "timing"));
    TRY(checked(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), "timing"));
    seconds.push_back(static_cast<double>(milliseconds) / 1e3);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds;
}

}  // namespace deepserve::runner::cuda
