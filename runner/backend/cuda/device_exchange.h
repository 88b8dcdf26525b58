// What the forward pass of one rank on a GPU exchanges with the others: sums of partial products into the
// residual stream, and the logits' rows onto rank 0. For a model that is not spread it does nothing.
//
// NCCL moves the parts and our own kernel adds them by the tree of ranks, whatever their number of values and
// the way they come: one model over so many ranks has the same bits on each of them and in every run. They
// are not those of one process, as they are on CPUs: a matrix's columns are summed in kColumnParts parts side
// by side, one a warp, and ranks that summed only the parts of theirs would have most of their warps idle.
// numerics_id tells groups of different sizes apart.
#pragma once

#include <cstdint>
#include <vector>

#include "runner/backend/cuda/device_memory.h"
#include "runner/backend/shard.h"
#include "runner/collective/nccl/nccl_group.h"

namespace deepserve::runner::cuda {

struct DeviceExchangeOptions {
  uint32_t tokens_max = 0;  // of a step
  uint32_t embedding = 0;
  uint32_t logits_rows = 0;  // that go over at a time
};

// Whether sums of `count` values go in one round, in which each rank reads all parts and adds them: fewer
// launches, more bytes. In two rounds each adds a slice, and then all read the slices.
bool sums_in_one_round(uint32_t ranks, uint64_t count);

class DeviceExchange {
 public:
  static uint64_t memory_bytes(const RankShare& share, const DeviceExchangeOptions& options);
  // `group` outlives the object, and is nullptr for a rank 0 of 1. kInvalidConfig: more ranks than are added.
  static Result<DeviceExchange> make(const RankShare& share, NcclGroup* group,
                                     const DeviceExchangeOptions& options);

  bool alone() const { return group_ == nullptr; }
  bool first() const { return rank_ == 0; }

  // Where this rank writes its part of a sum: [tokens_max, embedding].
  float* part() const { return part_; }
  // residual[t][i] += the sum of all ranks' parts (+ bias[i]); `bias` is [embedding] or nullptr.
  Result<void> add_parts(float* residual, uint32_t tokens, const float* bias, cudaStream_t stream);

  // Where this rank writes its columns of logits: [logits_rows, share's vocabulary].
  float* logits_part() const { return logits_part_; }
  // Puts `rows` rows together: `logits` [rows, vocabulary] on rank 0, unused elsewhere.
  Result<void> gather_logits(uint32_t rows, float* logits, cudaStream_t stream);

  // Waits until all in `stream` is done, while it sees to it that the others live. The error of a group that
  // is over names who ended it.
  Result<void> wait(cudaStream_t stream);
  // Something else failed on this rank: the others are told, and what the GPU waits for ends.
  void give_up(const Error& error);

  // Has every way of this object gone once, of all ranks: what NCCL makes for it is made now.
  static Result<void> connect(NcclGroup& group);

 private:
  void carve(uint8_t* memory, const RankShare& share, const DeviceExchangeOptions& options);
  Result<void> add_in_two_rounds(uint64_t count, cudaStream_t stream);

  NcclGroup* group_ = nullptr;
  uint32_t rank_ = 0;
  uint32_t ranks_ = 1;
  uint32_t embedding_ = 0;
  std::vector<size_t> vocabulary_;  // [ranks]
  std::vector<size_t> counts_;      // [ranks] of a gathering
  DeviceMemory memory_;
  uint64_t used_bytes_ = 0;
  float* part_ = nullptr;         // and some more, so that it parts into equal slices
  float* incoming_ = nullptr;     // the others' parts, or their parts of this rank's slice
  float* logits_part_ = nullptr;  // [logits_rows, vocabulary_[rank_]]
  float* logits_incoming_ = nullptr;
};

}  // namespace deepserve::runner::cuda
