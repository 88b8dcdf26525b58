// What the kernels of a step read besides weights and the KV cache: its tokens, where they stand, and which
// of them give logits. Written in pinned memory, then copied to the GPU at once. Of two steps under way each
// has a side of all memory: the second one's is filled and copied while the first one's is read.
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

  // Takes the step's entries, which must be within the backend's bounds, to a side that no step under way
  // has. The rest is of this step.
  void fill(std::span<const BatchEntry> batch, size_t side);
  // Adds rows up to `tokens`, at most tokens_max, of which counts() says nothing: of token 0 at position 0 of
  // `block`, which must be nobody's.
  void pad(uint32_t tokens, uint32_t block);
  // Puts the copy of all rows into `stream`.
  Result<void> send(cudaStream_t stream) const;

  const StepArrays& arrays() const { return sides_[side_].device; }
  const StepCounts& counts() const { return counts_; }

 private:
  uint32_t tokens_max_ = 0;
  uint32_t rows_ = 0;  // of the step, padded
  uint32_t block_tokens_ = 0;
  struct Side {
    DeviceMemory memory;
    PinnedMemory pinned;
    StepArrays device, host;
  };
  std::array<Side, 2> sides_;
  size_t side_ = 0;
  StepCounts counts_;
};

}  // namespace deepserve::runner::cuda
