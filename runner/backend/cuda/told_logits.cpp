#include "runner/backend/cuda/told_logits.h"

#include <algorithm>
#include <cstring>

namespace deepserve::runner::cuda {
namespace {

constexpr size_t kFetchedRows = 64;  // at once

}  // namespace

Result<std::unique_ptr<ToldLogits>> ToldLogits::make(uint32_t vocabulary, uint32_t rows_max,
                                                     uint32_t threads) {
  std::unique_ptr<ToldLogits> told(new ToldLogits(vocabulary, threads));
  TRY_ASSIGN(told->fetched_, PinnedMemory::make(kFetchedRows * vocabulary * sizeof(float)));
  told->rows_.reserve(rows_max);
  told->sums_scales_.reserve(rows_max);
  return told;
}

void ToldLogits::find(std::span<const BatchEntry> batch) {
  rows_.clear();
  sums_scales_.clear();
  written_ = 0;
  uint32_t row = 0;
  for (const BatchEntry& entry : batch) {
    for (uint32_t i = 0; i < entry.logits_rows; ++i, ++row) {
      if (!entry.draws.empty()) continue;
      rows_.push_back(row);
      sums_scales_.push_back(entry.sums_scale);
    }
  }
}

Result<void> ToldLogits::write(const float* logits, uint32_t begin, uint32_t count, DeviceExchange& exchange,
                               cudaStream_t stream, const StepOutputs& outputs) {
  const auto end = static_cast<size_t>(std::ranges::lower_bound(rows_, begin + count) - rows_.begin());
  while (written_ < end) {
    const size_t first = written_, rows = std::min(kFetchedRows, end - first);
    TRY(fetch(logits, std::span(rows_).subspan(first, rows), begin, stream));
    TRY(exchange.wait(stream));
    threads_.parallel_for(rows, 1, [&](size_t from, size_t to) {
      for (size_t i = from; i < to; ++i) take(i, first + i, outputs);
    });
    written_ += rows;
  }
  return {};
}

// One behind the other; neighbours by one copy.
Result<void> ToldLogits::fetch(const float* logits, std::span<const uint32_t> rows, uint32_t begin,
                               cudaStream_t stream) {
  const size_t row_bytes = vocabulary_ * sizeof(float);
  for (size_t i = 0, next = 1; i < rows.size(); i = next++) {
    while (next < rows.size() && rows[next] == rows[next - 1] + 1) ++next;
    TRY(checked(cudaMemcpyAsync(fetched_.data() + i * row_bytes, logits + (rows[i] - begin) * vocabulary_,
                                (next - i) * row_bytes, cudaMemcpyDeviceToHost, stream),
                "a step's outputs"));
  }
  return {};
}

// The row that was fetched as number `index` is the `told`-th of the step's that are told.
void ToldLogits::take(size_t index, size_t told, const StepOutputs& outputs) const {
  const size_t chunks = kernels::logits_chunks(vocabulary_);
  float* logits = outputs.logits.data() + told * vocabulary_;
  std::memcpy(logits, fetched_.as<float>() + index * vocabulary_, vocabulary_ * sizeof(float));
  if (outputs.largest.empty()) return;
  kernels::outline_logits(kernels_, logits, vocabulary_, sums_scales_[told],
                          outputs.largest.data() + told * chunks, outputs.sums.data() + told * chunks);
}

}  // namespace deepserve::runner::cuda
