#include "runner/backend/cuda/step_graphs.h"

namespace deepserve::runner::cuda {
namespace {

constexpr uint32_t kRowsMax = 512;

}  // namespace

uint32_t StepGraphs::rows_for(uint32_t tokens) {
  if (tokens > kRowsMax) return 0;
  if (tokens <= 8) return tokens <= 2 ? tokens : tokens <= 4 ? 4 : 8;
  const uint32_t unit = tokens <= 64 ? 16 : tokens <= 256 ? 32 : 64;
  return (tokens + unit - 1) / unit * unit;
}

// Of this thread alone: another may allocate meanwhile.
Result<void> StepGraphs::begin_capture(cudaStream_t stream) {
  return checked(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording a step");
}

Result<StepGraphs::Graph> StepGraphs::end_capture(cudaStream_t stream) {
  cudaGraph_t recorded = nullptr;
  TRY(checked(cudaStreamEndCapture(stream, &recorded), "recording a step"));
  cudaGraphExec_t executable = nullptr;
  const cudaError_t made = cudaGraphInstantiate(&executable, recorded, 0);
  cudaGraphDestroy(recorded);
  TRY(checked(made, "recording a step"));
  return Graph(executable);
}

}  // namespace deepserve::runner::cuda
