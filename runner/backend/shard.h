// One rank's part of a model that is spread over several (tensor parallelism, after Shoeybi et al.,
// Megatron-LM, arXiv:1909.08053, section 3).
//
// Query, key, value, gate and up are cut by rows: a rank has some key-value heads with the query heads of
// their group, and some columns of the feed-forward layer. attention_output and down are cut by columns to
// match, so that the sum of the ranks' products is the product of the whole. The output head is cut by rows,
// tokens of the vocabulary. Norms and the embedding are whole everywhere.
//
// All of a shard's matrices are views into the model's files, as the whole ones are. Columns are cut where a
// block of the weights' format ends: shares of the feed-forward layer differ by some blocks, and a head that
// ends inside a block shares the block with the next rank, where each has zeros for the other's inputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/model_config.h"
#include "runner/model/model_weights.h"

namespace deepserve::runner {

struct Range {
  size_t begin = 0;
  size_t end = 0;

  size_t size() const { return end - begin; }
  bool operator==(const Range&) const = default;
};

// What of the whole model one rank has.
struct RankShare {
  uint32_t rank = 0;
  uint32_t ranks = 1;
  Range kv_heads;
  Range heads;
  Range feed_forward;              // rows of gate and up, columns of down
  Range attended;                  // columns of attention_output: those of the heads, to whole blocks
  std::vector<size_t> vocabulary;  // [ranks] rows of the output head that each has, in order
};

// kInvalidConfig, with the numbers, when there are not enough heads, blocks or tokens for `ranks`.
Result<RankShare> share_of_rank(const ModelConfig& config, const ModelWeights& weights, uint32_t rank,
                                uint32_t ranks);

struct ModelShard {
  RankShare share;
  ModelConfig config;    // heads, kv_heads and feed_forward are the rank's
  ModelWeights weights;  // the embedding is whole; parameters and size_bytes are the whole model's
};

// `ranks` 1: the whole model, whose share says so. Biases that belong to a sum are rank 0's alone.
Result<ModelShard> cut_model(const ModelConfig& config, ModelWeights weights, uint32_t rank, uint32_t ranks);

}  // namespace deepserve::runner
