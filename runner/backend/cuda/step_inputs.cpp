#include "runner/backend/cuda/step_inputs.h"

#include "ipc/base/check.h"
#include "kernels/cuda/elementwise.h"

namespace deepserve::runner::cuda {
namespace {

constexpr size_t kStepArrays = sizeof(StepArrays) / sizeof(uint32_t*);  // of one size, one behind the other

StepArrays carve(uint8_t* memory, uint32_t tokens_max, uint64_t& used_bytes) {
  Carver carver(memory);
  StepArrays arrays;
  for (uint32_t** array :
       {&arrays.tokens, &arrays.positions, &arrays.block_of, &arrays.logits_rows, &arrays.hidden_rows}) {
    *array = carver.take<uint32_t>(tokens_max);
  }
  used_bytes = carver.used_bytes();
  return arrays;
}

}  // namespace

Result<StepInputs> StepInputs::make(uint32_t tokens_max, uint32_t block_tokens) {
  StepInputs inputs;
  inputs.tokens_max_ = tokens_max;
  inputs.block_tokens_ = block_tokens;
  uint64_t bytes = 0;
  carve(nullptr, tokens_max, bytes);
  for (Side& side : inputs.sides_) {
    TRY_ASSIGN(side.memory, DeviceMemory::make(bytes, "a step's inputs"));
    TRY_ASSIGN(side.pinned, PinnedMemory::make(bytes));
    side.device = carve(side.memory.data(), tokens_max, bytes);
    side.host = carve(side.pinned.data(), tokens_max, bytes);
  }
  return inputs;
}

void StepInputs::fill(std::span<const BatchEntry> batch, size_t side) {
  counts_ = {};
  side_ = side;
  const StepArrays& host = sides_[side].host;
  for (const BatchEntry& entry : batch) {
    const size_t tokens = entry.tokens.size();
    for (size_t i = 0; i < tokens; ++i) {
      const uint32_t row = counts_.tokens++, position = entry.position + static_cast<uint32_t>(i);
      host.tokens[row] = entry.tokens[i];
      host.positions[row] = position;
      host.block_of[row] = entry.blocks[position / block_tokens_];
      if (i + entry.logits_rows >= tokens) host.logits_rows[counts_.logits_rows++] = row;
      if (entry.hidden_rows) host.hidden_rows[counts_.hidden_rows++] = row;
    }
    if (entry.last_drawn == BatchEntry::kNotDrawn) continue;
    host.tokens[counts_.tokens - 1] = kernels::cuda::kDrawnToken + entry.last_drawn;
  }
  rows_ = counts_.tokens;
}

void StepInputs::pad(uint32_t tokens, uint32_t block) {
  CHECK(tokens <= tokens_max_);
  const StepArrays& host = sides_[side_].host;
  for (uint32_t row = counts_.tokens; row < tokens; ++row) {
    host.tokens[row] = 0;
    host.positions[row] = 0;
    host.block_of[row] = block;
  }
  rows_ = tokens;
}

// The beginnings of all arrays at once.
Result<void> StepInputs::send(cudaStream_t stream) const {
  const Side& side = sides_[side_];
  const size_t pitch = side.memory.bytes() / kStepArrays;
  return checked(cudaMemcpy2DAsync(side.memory.data(), pitch, side.pinned.data(), pitch,
                                   rows_ * sizeof(uint32_t), kStepArrays, cudaMemcpyHostToDevice, stream),
                 "sending a step to the GPU");
}

}  // namespace deepserve::runner::cuda
