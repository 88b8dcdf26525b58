#include "runner/backend/cuda/overlap_trial.h"

#include <spdlog/spdlog.h>

#include "kernels/cuda/overlap.h"
#include "kernels/cuda/random_bits.h"
#include "runner/backend/cuda/cuda_result.h"
#include "runner/backend/cuda/device_memory.h"
#include "runner/backend/cuda/step_graphs.h"

namespace deepserve::runner::cuda {
namespace {

constexpr uint64_t kNumbers = 64;

// Twice: the second time as a graph.
Result<void> try_two_kernels() {
  TRY_ASSIGN(const Stream stream, make_stream());
  TRY_ASSIGN(const DeviceMemory memory, DeviceMemory::make(kNumbers * sizeof(uint16_t), "a trial"));
  StepGraphs graphs;
  const auto fill = [&]() -> Result<void> {
    auto* numbers = reinterpret_cast<uint16_t*>(memory.data());
    TRY(launched(kernels::cuda::fill_random_bf16(numbers, kNumbers, 1, stream.get())));
    return launched(kernels::cuda::fill_random_bf16(numbers, kNumbers, 2, stream.get()));
  };
  for (int i = 0; i < 2; ++i) TRY(graphs.run(1, 0, 1, stream.get(), fill));
  return checked(cudaStreamSynchronize(stream.get()), "trying kernels that overlap");
}

}  // namespace

void settle_overlap(const Gpu& gpu) {
  const auto code = gpu.jit_driver != 0 ? ptx_architectures() : built_architectures();
  const bool can = overlaps_on(code, gpu.capability);
  kernels::cuda::let_kernels_overlap(can);
  if (!can) return;
  if (const auto tried = try_two_kernels(); !tried) {
    (void)cudaGetLastError();
    kernels::cuda::let_kernels_overlap(false);
    spdlog::warn("{}: its driver does not let kernels overlap, which costs some speed: {}", gpu.name,
                 tried.error().message);
  }
}

}  // namespace deepserve::runner::cuda
