// What the forward pass of one rank exchanges with the others: sums of partial products into the residual
// stream, and the logits' rows onto rank 0. For a model that is not spread it does nothing.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "ipc/base/result.h"
#include "runner/backend/shard.h"
#include "runner/collective/collective.h"

namespace deepserve::runner {

class RankExchange {
 public:
  // Logits go over in chunks of so many rows: a chunk's memory is a fraction of the KV cache's.
  static constexpr size_t kLogitsRows = 32;

  // Both outlive the object; `collective` is nullptr for a rank 0 of 1. Buffers are allocated here.
  RankExchange(const RankShare& share, Collective* collective, size_t tokens_max, size_t embedding);

  bool alone() const { return collective_ == nullptr; }
  bool first() const { return share_.rank == 0; }
  // Where this rank writes its part of a sum: [tokens_max, embedding].
  float* part() { return part_.data(); }
  // residual[t][i] += the sum of all ranks' parts (+ bias[i]), the same bits on all ranks; `bias` is
  // [embedding] or empty.
  Result<void> add_parts(std::span<float> residual, std::span<const float> bias);

  // Where this rank writes its columns of logits: [kLogitsRows, share's vocabulary].
  float* logits_part() { return logits_part_.data(); }
  // Puts `rows` rows together: `logits` [rows, vocabulary] on rank 0, empty elsewhere.
  Result<void> gather_logits(size_t rows, std::span<float> logits);

 private:
  const RankShare& share_;
  Collective* collective_;
  std::vector<float> part_;
  std::vector<float> logits_part_;
};

}  // namespace deepserve::runner
