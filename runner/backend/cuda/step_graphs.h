// CUDA graphs of steps that decode: the launches of a step are recorded once for a number of rows, and then
// started as one. Steps of other numbers are padded to the next that has a graph.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <map>

#include "runner/backend/cuda/device_memory.h"

namespace deepserve::runner::cuda {

class StepGraphs {
 public:
  // The number of rows that a step of so many tokens, at least 1, is padded to; 0: more than there are graphs
  // for.
  static uint32_t rows_for(uint32_t tokens);

  // Puts what `work`, a Result<void>(), puts into `stream` there, by a graph from the second time on: the
  // first has its kernels loaded. All that work for the same number of rows and the same side reads and
  // writes must stay where it is, while `places`, which is not 0, is the same.
  template <typename Work>
  Result<void> run(uint32_t rows, size_t side, uint32_t places, cudaStream_t stream, const Work& work) {
    const auto [found, is_first] = recordings_.try_emplace(rows);
    if (is_first) return work();
    Recording& recording = found->second[side];
    if (recording.places != places) {
      recording.places = 0;
      TRY(begin_capture(stream));
      const Result<void> worked = work();
      Result<Graph> graph = end_capture(stream);
      TRY(worked);
      if (!graph) return tl::unexpected(std::move(graph.error()));
      recording = {.places = places, .graph = std::move(*graph)};
    }
    return checked(cudaGraphLaunch(recording.graph.get(), stream), "starting a step");
  }

 private:
  using Graph = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;
  struct Recording {
    uint32_t places = 0;
    Graph graph;
  };

  static Result<void> begin_capture(cudaStream_t stream);
  static Result<Graph> end_capture(cudaStream_t stream);

  std::map<uint32_t, std::array<Recording, 2>> recordings_;  // by rows, and the side of a step's inputs
};

}  // namespace deepserve::runner::cuda
