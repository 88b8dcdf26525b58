#include "runner/backend/shard.h"

#include <algorithm>

#include "ipc/base/check.h"
#include "kernels/cpu/quantized_inputs.h"

namespace deepserve::runner {
namespace {

using kernels::Matrix;

// Where shares may choose, they end at a multiple of this: kernels take columns and rows in such groups.
constexpr size_t kColumnGroup = 32;
constexpr size_t kRowGroup = 16;

// The part of `count` units that is `rank`'s: as even as can be.
Range part(size_t count, uint32_t rank, uint32_t ranks) {
  return {count * rank / ranks, count * (rank + 1) / ranks};
}

Range times(const Range& range, size_t factor) {
  return {range.begin * factor, range.end * factor};
}

// Doubles `unit`, which divides `count`, as long as it does and all ranks get some, up to `group`.
size_t coarser(size_t unit, size_t count, size_t group, uint32_t ranks) {
  while (unit < group && count % (unit * 2) == 0 && count / (unit * 2) >= ranks) unit *= 2;
  return unit;
}

size_t block_of(const Matrix& matrix) {
  return kernels::weight_format(matrix.type).block_elements;
}

// Block sizes divide one another: where the largest of all layers ends, every layer's ends.
template <typename Member>
size_t largest_block(const ModelWeights& weights, Member member) {
  size_t block = 1;
  for (const LayerWeights& layer : weights.layers) block = std::max(block, block_of(layer.*member));
  return block;
}

Matrix columns_of(const Matrix& whole, const Range& columns) {
  CHECK(columns.begin % block_of(whole) == 0 && columns.end % block_of(whole) == 0);
  Matrix view = whole;
  view.data = whole.data + kernels::weight_row_bytes(whole.type, columns.begin);
  view.columns = columns.size();
  view.scales.first_column += columns.begin;
  return view;  // rows are as far apart as they were
}

void keep(std::vector<float>& values, const Range& range) {
  if (values.empty()) return;
  values.erase(values.begin() + static_cast<ptrdiff_t>(range.end), values.end());
  values.erase(values.begin(), values.begin() + static_cast<ptrdiff_t>(range.begin));
}

void cut_layer(LayerWeights& layer, const RankShare& share, size_t head_dim) {
  const Range query = times(share.heads, head_dim), kv = times(share.kv_heads, head_dim);
  layer.query = rows_of(layer.query, query);
  layer.key = rows_of(layer.key, kv);
  layer.value = rows_of(layer.value, kv);
  keep(layer.query_bias, query);
  keep(layer.key_bias, kv);
  keep(layer.value_bias, kv);
  layer.attention_output = columns_of(layer.attention_output, share.attended);
  layer.gate = rows_of(layer.gate, share.feed_forward);
  layer.up = rows_of(layer.up, share.feed_forward);
  keep(layer.gate_bias, share.feed_forward);
  keep(layer.up_bias, share.feed_forward);
  layer.down = columns_of(layer.down, share.feed_forward);
}

// Whether the tree of ranks [rank, rank_end) is the top of the tree of parts [part, part_end), of which rank
// r has those from parts * r / ranks on.
bool is_top_of_tree(size_t part, size_t part_end, size_t rank, size_t rank_end, size_t parts, size_t ranks) {
  if (rank_end - rank == 1) return true;
  const size_t middle = part + (part_end - part) / 2, rank_middle = rank + (rank_end - rank) / 2;
  return parts * rank_middle / ranks == middle &&
         is_top_of_tree(part, middle, rank, rank_middle, parts, ranks) &&
         is_top_of_tree(middle, part_end, rank_middle, rank_end, parts, ranks);
}

// Where parts [range) begin and end of `count` columns or heads that are cut into `parts`.
Range units_of(const Range& range, size_t count, size_t parts) {
  return {count * range.begin / parts, count * range.end / parts};
}

// The same, each, in units of `size` columns, counted from the first of the rank's `own`.
kernels::ColumnParts column_parts(const Range& range, size_t count, size_t parts, size_t size,
                                  const Range& own) {
  CHECK(range.size() <= kernels::kColumnPartsMax);
  kernels::ColumnParts columns;
  const Range all = times(units_of(range, count, parts), size);
  if (range.size() == 1 && all == own) return columns;
  columns.begin = all.begin - own.begin;
  for (size_t part = range.begin; part < range.end; ++part)
    columns.ends[columns.count++] = count * (part + 1) / parts * size - own.begin;
  return columns;
}

// Whether attention_output can be summed by parts that end with a head.
bool heads_end_with_blocks(const ModelConfig& config, const ModelWeights& weights, size_t parts) {
  if (largest_block(weights, &LayerWeights::attention_output) == 1) return true;
  for (size_t part = 1; part < parts; ++part) {
    const size_t head = config.kv_heads * part / parts * (config.heads / config.kv_heads);
    if (head * config.head_dim % kernels::kInputBlock != 0) return false;
  }
  return true;
}

}  // namespace

Matrix rows_of(const Matrix& whole, const Range& rows) {
  Matrix view = whole;
  if (view.data != nullptr) view.data += rows.begin * whole.row_bytes;
  view.rows = rows.size();
  view.scales.first_row += rows.begin;
  return view;
}

kernels::PackedMatrix rows_of(const kernels::PackedMatrix& whole, const Range& rows) {
  CHECK(rows.begin % kernels::kRowsOfGroup == 0);
  kernels::PackedMatrix view = whole;
  if (view.data != nullptr) view.data += kernels::packed_bytes(whole.type, rows.begin, whole.columns);
  view.rows = rows.size();
  return view;
}

Result<RankShare> share_of_rank(const ModelConfig& config, const ModelWeights& weights, uint32_t rank,
                                uint32_t ranks) {
  CHECK(rank < ranks);
  if (config.kv_heads < ranks) {
    return fail(Code::kInvalidConfig, "the model's {} key-value heads cannot be spread over {} ranks",
                config.kv_heads, ranks);
  }
  const size_t down_block = largest_block(weights, &LayerWeights::down);
  const size_t down_blocks = config.feed_forward / down_block;
  if (down_blocks < ranks) {
    return fail(Code::kInvalidConfig,
                "the model's feed-forward width of {} in blocks of {} cannot be spread over {} ranks",
                config.feed_forward, down_block, ranks);
  }
  const size_t vocabulary = weights.output.rows;
  if (vocabulary < ranks) {
    return fail(Code::kInvalidConfig, "a vocabulary of {} tokens cannot be spread over {} ranks", vocabulary,
                ranks);
  }
  const size_t parts_alone = std::min({size_t{config.kv_heads}, down_blocks, kernels::kColumnPartsMax});
  const size_t parts = std::max<size_t>(parts_alone, ranks);
  const Range own = part(parts, rank, ranks);
  const size_t group = config.heads / config.kv_heads;
  RankShare share;
  share.rank = rank;
  share.ranks = ranks;
  share.kv_heads = units_of(own, config.kv_heads, parts);
  share.heads = times(share.kv_heads, group);
  const size_t columns = coarser(down_block, config.feed_forward, kColumnGroup, parts);
  share.feed_forward = times(units_of(own, config.feed_forward / columns, parts), columns);
  share.down_parts = column_parts(own, config.feed_forward / columns, parts, columns, share.feed_forward);
  const size_t block = largest_block(weights, &LayerWeights::attention_output);
  const Range heads = times(share.heads, config.head_dim);
  share.attended = {heads.begin / block * block, (heads.end + block - 1) / block * block};
  const bool heads_are_parts = heads_end_with_blocks(config, weights, parts);
  if (heads_are_parts) {
    share.attended_parts = column_parts(own, config.kv_heads, parts, group * config.head_dim, share.attended);
  }
  share.sums_as_one = ranks == 1 || (parts == parts_alone && heads_are_parts &&
                                     is_top_of_tree(0, parts, 0, ranks, parts, ranks));
  const size_t rows = coarser(1, vocabulary, kRowGroup, ranks);
  for (uint32_t each = 0; each < ranks; ++each)
    share.vocabulary.push_back(part(vocabulary / rows, each, ranks).size() * rows);
  return share;
}

Result<ModelShard> cut_model(const ModelConfig& config, ModelWeights weights, uint32_t rank, uint32_t ranks) {
  TRY_ASSIGN(RankShare share, share_of_rank(config, weights, rank, ranks));
  for (LayerWeights& layer : weights.layers) cut_layer(layer, share, config.head_dim);
  size_t first = 0;
  for (uint32_t each = 0; each < rank; ++each) first += share.vocabulary[each];
  weights.output = rows_of(weights.output, {first, first + share.vocabulary[rank]});
  ModelConfig own = config;
  own.heads = static_cast<uint32_t>(share.heads.size());
  own.kv_heads = static_cast<uint32_t>(share.kv_heads.size());
  own.feed_forward = static_cast<uint32_t>(share.feed_forward.size());
  return ModelShard{std::move(share), own, std::move(weights)};
}

}  // namespace deepserve::runner
