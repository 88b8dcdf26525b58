// The draws of a step from rows of logits that stay on the GPU (kernels/cuda/sampling.h): what is to be drawn
// goes there in one copy before the step's first logits, and what was drawn comes back in one. Of two steps
// under way, the first one's may be taken while the second one's are on their way.
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

  // Takes the step's entries and puts the copy of their draws into `stream`; may be called again, and once
  // more when take() was. kOutOfMemory: masks and penalties need more memory than there is.
  Result<void> send(std::span<const BatchEntry> batch, cudaStream_t stream);
  // Draws from those of the step's rows [piece * piece_rows, ...) that are drawn from, which lie at `logits`.
  Result<void> run(uint32_t piece, float* logits, cudaStream_t stream) const;
  // Puts the copy of all that was drawn into `stream`; take() writes it where it belongs when that has run:
  // of the step that was sent first and not taken.
  Result<void> fetch(cudaStream_t stream) const;
  void take(const StepOutputs& outputs);

  // The tokens that the last step drew, on the device: until the next run(). They stay where they are while
  // places() is the same.
  const kernels::cuda::RankedLogit* drawn() const {
    return reinterpret_cast<const kernels::cuda::RankedLogit*>(results_.data());
  }
  size_t drawn_count() const { return sends_ == 0 ? 0 : sent().sizes.choices; }
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
  // A step's, on the host.
  struct Side {
    Sizes sizes;
    PinnedMemory pinned, fetched;  // they grow when they must
    Arrays host{};
    Results results{};
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
  Side& sent() { return sides_[(sends_ - 1) % sides_.size()]; }
  const Side& sent() const { return sides_[(sends_ - 1) % sides_.size()]; }
  Result<void> make_room(cudaStream_t stream);
  Result<void> grow_results(uint64_t bytes, cudaStream_t stream);
  void fill(std::span<const BatchEntry> batch);
  void add(const RowDraw& draw, uint32_t row, Sizes& at);

  uint32_t vocabulary_ = 0;
  uint32_t piece_rows_ = 0;
  DeviceMemory outline_memory_;
  Outlines outlines_{};
  // These grow when they must.
  DeviceMemory memory_;
  DeviceMemory undone_;
  DeviceMemory results_;
  uint32_t places_ = 1;  // of results_

  std::array<Side, 2> sides_;
  uint64_t sends_ = 0;
  uint64_t taken_ = 0;
  // Of the step that was sent last.
  uint64_t bytes_ = 0;
  bool adjusts_ = false;  // any row
  Arrays device_{};
  Results device_results_{};
  uint64_t results_bytes_ = 0;
  std::vector<uint32_t> piece_begins_;  // [pieces + 1], of rows
};

}  // namespace deepserve::runner::cuda
