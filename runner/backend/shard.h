// One rank's part of a model that is spread over several (tensor parallelism, after Shoeybi et al.,
// Megatron-LM, arXiv:1909.08053, section 3).
//
// Query, key, value, gate and up are cut by rows: a rank has some key-value heads with the query heads of
// their group, and some columns of the feed-forward layer. attention_output and down are cut by columns to
// match, so that the sum of the ranks' products is the product of the whole. The output head is cut by rows,
// tokens of the vocabulary. Norms, the embedding and biases of sums are whole everywhere.
//
// The columns that are summed over are cut into parts, which are the model's whatever the ranks: as many as
// the largest group that its shape allows, up to 8. Every process sums by the same tree of parts
// (kernels/cpu/column_parts.h), a rank its own parts and the ranks the rest. So a group whose ranks have
// whole branches of the tree computes the bits of one process: every group of 2, 4 or 8, or of as many ranks
// as there are parts. Elsewhere the last bits differ, and where they tip an input that is rounded to 8 bits,
// later layers differ by its last bit. A head that ends inside one of the blocks of 32 columns in which
// inputs are rounded is no border of parts: then ranks round other blocks than one process does.
//
// All of a shard's matrices are views into the model's files, as the whole ones are. Columns are cut where a
// block of the weights' format ends: shares of the feed-forward layer differ by some blocks, and a head that
// ends inside a block shares the block with the next rank, where each has zeros for the other's inputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ipc/base/result.h"
#include "kernels/cpu/column_parts.h"
#include "kernels/cpu/packed_matrix.h"
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
  // Of the rank's columns of attention_output and of down.
  kernels::ColumnParts attended_parts;
  kernels::ColumnParts down_parts;
  bool sums_as_one = true;  // its group computes the bits of one process
};

// kInvalidConfig, with the numbers, when there are not enough heads, blocks or tokens for `ranks`.
Result<RankShare> share_of_rank(const ModelConfig& config, const ModelWeights& weights, uint32_t rank,
                                uint32_t ranks);

// A view of some rows; of a packed matrix, from a multiple of kRowsOfGroup on. What has no data keeps none.
kernels::Matrix rows_of(const kernels::Matrix& whole, const Range& rows);
kernels::PackedMatrix rows_of(const kernels::PackedMatrix& whole, const Range& rows);

struct ModelShard {
  RankShare share;
  ModelConfig config;    // heads, kv_heads and feed_forward are the rank's
  ModelWeights weights;  // the embedding is whole; parameters and size_bytes are the whole model's
};

// `ranks` 1: the whole model, whose share says so.
Result<ModelShard> cut_model(const ModelConfig& config, ModelWeights weights, uint32_t rank, uint32_t ranks);

}  // namespace deepserve::runner
