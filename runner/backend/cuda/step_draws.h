// The draws of a step from rows of logits that stay on the GPU (kernels/cuda/sampling.h): what is to be drawn
// goes there in one copy before the step's first logits, and what was drawn comes back in one. Of two steps
// under way each has a side of the memory: what the first one draws may be looked up, and taken, while the
// second one draws.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/sampling.h"
#include "runner/backend/backend.h"
#include "runner/backend/cuda/device_memory.h"

namespace deepserve::runner::cuda {

class StepDraws {
 public:
  // Of rows of `vocabulary` logits, of which `piece_rows` lie in memory at a time.
  static Result<StepDraws> make(uint32_t vocabulary, uint32_t piece_rows);
  static uint64_t memory_bytes(uint32_t vocabulary, uint32_t piece_rows);

  // Takes the step's entries, to a side that no step under way has, and puts the copy of their draws into
  // `stream`. kOutOfMemory: masks and penalties need more memory than there is. run() and fetch() are of this
  // step.
  Result<void> send(std::span<const BatchEntry> batch, size_t side, cudaStream_t stream);
  // Draws from those of the step's rows [piece * piece_rows, ...) that are drawn from, which lie at `logits`.
  Result<void> run(uint32_t piece, float* logits, cudaStream_t stream) const;
  // Puts the copy of all that was drawn into `stream`; take() writes it where it belongs when that has run.
  Result<void> fetch(cudaStream_t stream) const;
  void take(size_t side, const StepOutputs& outputs) const;

  // The tokens that the step of the other side drew, on the device. They stay where they are while places()
  // is the same.
  const kernels::cuda::RankedLogit* drawn_before() const {
    return reinterpret_cast<const kernels::cuda::RankedLogit*>(sides_[1 - side_].results.data());
  }
  size_t drawn_count(size_t side) const { return sides_[side].sizes.choices; }
  uint32_t places() const { return places_; }

 private:
  struct Sizes {
    uint64_t rows = 0, pieces = 0, choices = 0, counts = 0, biases = 0, masked = 0, mask_words = 0;
  };
  // What is copied to the GPU.
  struct Arrays {
    kernels::cuda::SampledRow* rows;
    kernels::cuda::RowState* states;
    uint32_t* row_counts;  // [pieces]
    uint16_t* choices;
    kernels::cuda::TokenCount* counts;
    kernels::cuda::TokenBias* biases;
    uint32_t* masked;
    uint64_t* masks;
  };
  // What comes back, and what lies there meanwhile: tokens first.
  struct Results {
    kernels::cuda::RankedLogit* tokens;
    kernels::cuda::DrawnRow* rows;
  };
  // A step's. Memory grows when it must.
  struct Side {
    Sizes sizes;
    DeviceMemory memory, results;
    PinnedMemory pinned, fetched;
    Arrays host{}, device{};
    Results host_results{}, device_results{};
    uint64_t results_bytes = 0;  // of them
  };
  struct Outlines {
    float* largest;
    float* sums;
    float* raw_largest;
    float* raw_sums;
  };

  static Sizes sizes_of(std::span<const BatchEntry> batch, uint32_t piece_rows);
  static uint64_t carve(uint8_t* memory, const Sizes& sizes, Arrays& arrays);
  static uint64_t carve(uint8_t* memory, const Sizes& sizes, Results& results);
  uint64_t carve(uint8_t* memory, Outlines& outlines) const;
  Result<uint64_t> make_room(Side& side);
  void fill(std::span<const BatchEntry> batch);
  void add(const RowDraw& draw, uint32_t row, Sizes& at);

  uint32_t vocabulary_ = 0;
  uint32_t piece_rows_ = 0;
  DeviceMemory outline_memory_;
  Outlines outlines_{};
  DeviceMemory undone_;  // grows when it must
  uint32_t places_ = 1;  // of results

  std::array<Side, 2> sides_;
  // The step's.
  size_t side_ = 0;
  bool adjusts_ = false;                // any row
  std::vector<uint32_t> piece_begins_;  // [pieces + 1], of rows
};

}  // namespace deepserve::runner::cuda
