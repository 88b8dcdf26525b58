// What the kernels of a step read besides weights and the KV cache: its tokens, where they stand, and which
// of them give logits. Written in pinned memory, then copied to the GPU at once; the next step's is written
// elsewhere, so that this one's may still be on its way.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runner/backend/backend.h"
#include "runner/backend/cuda/device_memory.h"

namespace deepserve::runner::cuda {

// On the device, [tokens_max] each.
struct StepArrays {
  uint32_t* tokens = nullptr;  // or from kDrawnToken on what the step before drew
  uint32_t* positions = nullptr;
  uint32_t* block_of = nullptr;     // the block of the cache that the token's position is in
  uint32_t* logits_rows = nullptr;  // rows of the step that give logits, in order
  uint32_t* hidden_rows = nullptr;  // and hidden states
};

// How many of each there are.
struct StepCounts {
  uint32_t tokens = 0;
  uint32_t logits_rows = 0;
  uint32_t hidden_rows = 0;
};

class StepInputs {
 public:
  static Result<StepInputs> make(uint32_t tokens_max, uint32_t block_tokens);

  // Takes the step's entries, which must be within the backend's bounds.
  void fill(std::span<const BatchEntry> batch);
  // Adds rows up to `tokens`, at most tokens_max, of which counts() says nothing: of token 0 at position 0 of
  // `block`, which must be nobody's.
  void pad(uint32_t tokens, uint32_t block);
  // Puts the copy of all rows into `stream`; fill() may be called again, and once more when it has run.
  Result<void> send(cudaStream_t stream) const;

  const StepArrays& arrays() const { return device_; }
  const StepCounts& counts() const { return counts_; }

 private:
  uint32_t tokens_max_ = 0;
  uint32_t rows_ = 0;  // of the step, padded
  uint32_t block_tokens_ = 0;
  DeviceMemory memory_;
  std::array<PinnedMemory, 2> pinned_;
  StepArrays device_;
  std::array<StepArrays, 2> hosts_;  // in pinned_
  size_t side_ = 0;                  // of the two, the step's
  StepCounts counts_;
};

}  // namespace deepserve::runner::cuda
