// Rows of logits on their way to the host: of those whose logits are wanted there, because nothing was drawn
// from them on the GPU (RowDraw). A backend tells few of them: scored prompts, drafts under penalties.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cpu/logits.h"
#include "kernels/cpu/thread_pool.h"
#include "runner/backend/backend.h"
#include "runner/backend/cuda/device_exchange.h"
#include "runner/backend/cuda/device_memory.h"

namespace deepserve::runner::cuda {

class ToldLogits {
 public:
  // `rows_max`: of a step. `threads` outline what has come.
  static Result<std::unique_ptr<ToldLogits>> make(uint32_t vocabulary, uint32_t rows_max, uint32_t threads);

  // Takes the step's entries.
  void find(std::span<const BatchEntry> batch);
  size_t rows() const { return rows_.size(); }

  // Of the step's rows [begin, begin + count), whose logits are in `logits` [count, vocabulary] once all in
  // `stream` is done, those that are told, with their outlines: to their places in `outputs`. Pieces come in
  // the order of rows. Waits where it has any.
  Result<void> write(const float* logits, uint32_t begin, uint32_t count, DeviceExchange& exchange,
                     cudaStream_t stream, const StepOutputs& outputs);

 private:
  ToldLogits(uint32_t vocabulary, uint32_t threads)
      : vocabulary_(vocabulary), threads_(threads), kernels_(*kernels::find_logits_kernels("")) {}
  Result<void> fetch(const float* logits, std::span<const uint32_t> rows, uint32_t begin,
                     cudaStream_t stream);
  void take(size_t index, size_t told, const StepOutputs& outputs) const;

  size_t vocabulary_;
  kernels::ThreadPool threads_;
  const kernels::LogitsKernels& kernels_;
  PinnedMemory fetched_;
  std::vector<uint32_t> rows_;      // which of the step's these are
  std::vector<float> sums_scales_;  // [rows]
  size_t written_ = 0;              // so many of them
};

}  // namespace deepserve::runner::cuda
