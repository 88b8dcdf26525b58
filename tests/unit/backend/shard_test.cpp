// A rank's part is a view of the whole: every weight is some rank's, none is two ranks', and the parts'
// products add up.
#include "runner/backend/shard.h"

#include <gtest/gtest.h>

#include "kernels/cpu/dequantize.h"
#include "runner/model/gguf/gguf_model.h"
#include "tests/unit/kernels/random_weights.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using kernels::Matrix;
using kernels::WeightType;

struct Bound {
  explicit Bound(const TinyModel& tiny) : file(tiny.gguf()) {
    auto opened = open_gguf_model(file.path());
    EXPECT_TRUE(opened) << opened.error().message;
    model.emplace(std::move(*opened));
    weights = bind_model_weights(model->tensors, model->config).value();
  }
  ModelShard shard(uint32_t rank, uint32_t ranks) const {
    return cut_model(model->config, weights, rank, ranks).value();
  }

  TemporaryFile file;
  std::optional<OpenedModel> model;
  ModelWeights weights;
};

// [rows, columns]
std::vector<std::vector<float>> values_of(const Matrix& matrix) {
  std::vector<std::vector<float>> rows(matrix.rows, std::vector<float>(matrix.columns));
  for (size_t row = 0; row < matrix.rows; ++row) {
    kernels::dequantize_row(matrix.type, matrix.data + row * matrix.row_bytes, matrix.columns,
                            rows[row].data());
  }
  return rows;
}

std::vector<std::vector<float>> values_of(const Matrix& matrix, const Range& rows, const Range& columns) {
  const auto all = values_of(matrix);
  std::vector<std::vector<float>> values;
  for (size_t row = rows.begin; row < rows.end; ++row) {
    values.emplace_back(all[row].begin() + static_cast<ptrdiff_t>(columns.begin),
                        all[row].begin() + static_cast<ptrdiff_t>(columns.end));
  }
  return values;
}

TinyModel spreadable(WeightType type, uint32_t kv_heads = 2) {
  return {.type = type,
          .layers = 1,
          .embedding = 256,
          .feed_forward = 1024,
          .heads = kv_heads * 2,
          .kv_heads = kv_heads,
          .head_dim = 256 / (kv_heads * 2),
          .all_biases = true};
}

void expect_views_of_the_whole(const TinyModel& tiny, uint32_t ranks) {
  const Bound bound(tiny);
  const LayerWeights& whole = bound.weights.layers[0];
  const size_t head_dim = tiny.head_dim;
  size_t tokens = 0;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    const ModelShard shard = bound.shard(rank, ranks);
    const LayerWeights& own = shard.weights.layers[0];
    const RankShare& share = shard.share;
    const Range query{share.heads.begin * head_dim, share.heads.end * head_dim};
    const Range kv{share.kv_heads.begin * head_dim, share.kv_heads.end * head_dim};
    const Range all_columns{0, tiny.embedding}, all_rows{0, tiny.embedding};
    EXPECT_EQ(values_of(own.query), values_of(whole.query, query, all_columns));
    EXPECT_EQ(values_of(own.key), values_of(whole.key, kv, all_columns));
    EXPECT_EQ(values_of(own.value), values_of(whole.value, kv, all_columns));
    EXPECT_EQ(values_of(own.gate), values_of(whole.gate, share.feed_forward, all_columns));
    EXPECT_EQ(values_of(own.down), values_of(whole.down, all_rows, share.feed_forward));
    EXPECT_EQ(values_of(own.attention_output), values_of(whole.attention_output, all_rows, share.attended));
    EXPECT_EQ(own.query_bias.size(), query.size());
    EXPECT_EQ(own.query_bias.front(), whole.query_bias[query.begin]);
    EXPECT_EQ(own.up_bias.back(), whole.up_bias[share.feed_forward.end - 1]);
    EXPECT_EQ(own.down_bias, whole.down_bias);
    EXPECT_EQ(own.attention_output_bias, whole.attention_output_bias);
    EXPECT_EQ(shard.config.heads, share.heads.size());
    EXPECT_EQ(shard.config.kv_heads, share.kv_heads.size());
    EXPECT_EQ(values_of(shard.weights.output),
              values_of(bound.weights.output, {tokens, tokens + share.vocabulary[rank]}, all_columns));
    tokens += share.vocabulary[rank];
  }
  EXPECT_EQ(tokens, tiny.vocabulary);
}

TEST(Shard, IsAViewOfTheWholeInEveryFormat) {
  for (const WeightType type : kernels::gguf_weight_types()) {
    SCOPED_TRACE(kernels::weight_format(type).name);
    expect_views_of_the_whole(spreadable(type), 2);
  }
}

TEST(Shard, SharesMayBeUneven) {
  expect_views_of_the_whole(spreadable(WeightType::kQ8_0, 4), 3);
  expect_views_of_the_whole(spreadable(WeightType::kQ4K, 4), 3);
  expect_views_of_the_whole({.vocabulary = 53, .layers = 1, .feed_forward = 43, .all_biases = true}, 2);
}

TEST(Shard, EveryHeadAndColumnIsOneRanks) {
  for (const uint32_t ranks : {1u, 2u, 3u, 4u}) {
    const Bound bound(spreadable(WeightType::kQ4K, 4));
    size_t kv_head = 0, column = 0;
    for (uint32_t rank = 0; rank < ranks; ++rank) {
      const RankShare share = bound.shard(rank, ranks).share;
      EXPECT_EQ(share.kv_heads.begin, kv_head);
      EXPECT_EQ(share.feed_forward.begin, column);
      EXPECT_GT(share.kv_heads.size(), 0u);
      EXPECT_GT(share.feed_forward.size(), 0u);
      EXPECT_EQ(share.feed_forward.begin % 256, 0u);  // Q4_K's blocks
      kv_head = share.kv_heads.end;
      column = share.feed_forward.end;
    }
    EXPECT_EQ(kv_head, 4u);
    EXPECT_EQ(column, 1024u);
  }
}

std::vector<size_t> borders_of(const kernels::ColumnParts& own_parts, const Range& columns) {
  const kernels::ColumnParts parts = kernels::written_out(own_parts, columns.size());
  std::vector<size_t> borders = {parts.begin + columns.begin};
  for (size_t part = 0; part < parts.count; ++part) borders.push_back(parts.ends[part] + columns.begin);
  return borders;
}

TEST(Shard, ColumnsAreSummedInTheSamePartsWhateverTheRanks) {
  const Bound bound(spreadable(WeightType::kQ8_0, 4));
  const std::vector<size_t> attended = {0, 64, 128, 192, 256}, down = {0, 256, 512, 768, 1024};
  for (const uint32_t ranks : {1u, 2u, 3u, 4u}) {
    std::vector<size_t> own_attended = {0}, own_down = {0};
    for (uint32_t rank = 0; rank < ranks; ++rank) {
      const RankShare share = bound.shard(rank, ranks).share;
      EXPECT_EQ(share.sums_as_one, ranks != 3);
      const auto heads = borders_of(share.attended_parts, share.attended);
      const auto columns = borders_of(share.down_parts, share.feed_forward);
      EXPECT_EQ(heads.front(), own_attended.back());
      EXPECT_EQ(columns.front(), own_down.back());
      own_attended.insert(own_attended.end(), heads.begin() + 1, heads.end());
      own_down.insert(own_down.end(), columns.begin() + 1, columns.end());
    }
    EXPECT_EQ(own_attended, attended);
    EXPECT_EQ(own_down, down);
  }
}

TEST(Shard, GroupsWhoseRanksAreBranchesOfTheTreeSumAsOneProcess) {
  const auto sums_as_one = [](uint32_t kv_heads, uint32_t ranks) {
    const Bound bound(TinyModel{.layers = 1, .feed_forward = 64, .heads = kv_heads, .kv_heads = kv_heads});
    return bound.shard(0, ranks).share.sums_as_one;
  };
  for (const uint32_t ranks : {1u, 2u, 4u, 8u}) EXPECT_TRUE(sums_as_one(16, ranks)) << ranks;
  for (const uint32_t ranks : {3u, 5u, 6u, 7u, 9u}) EXPECT_FALSE(sums_as_one(16, ranks)) << ranks;
  for (const uint32_t ranks : {1u, 2u, 3u}) EXPECT_TRUE(sums_as_one(3, ranks)) << ranks;
  for (const uint32_t ranks : {2u, 4u, 5u}) EXPECT_TRUE(sums_as_one(5, ranks)) << ranks;
}

TEST(Shard, HeadsThatEndInsideABlockShareIt) {
  const Bound bound(spreadable(WeightType::kQ4K));  // 4 heads of 64 columns are one block
  for (const uint32_t rank : {0u, 1u}) {
    const ModelShard shard = bound.shard(rank, 2);
    EXPECT_EQ(shard.share.attended, (Range{0, 256}));
    EXPECT_EQ(shard.share.heads, (Range{rank * 2, rank * 2 + 2}));
  }
  EXPECT_EQ(Bound(spreadable(WeightType::kQ8_0)).shard(1, 2).share.attended, (Range{128, 256}));
}

TEST(Shard, TheLastRankOfOneHasTheWholeModel) {
  const Bound bound(spreadable(WeightType::kQ8_0));
  const ModelShard shard = bound.shard(0, 1);
  EXPECT_EQ(shard.weights.layers[0].down.data, bound.weights.layers[0].down.data);
  EXPECT_EQ(shard.weights.layers[0].down.columns, 1024u);
  EXPECT_EQ(shard.weights.output.rows, bound.weights.output.rows);
  EXPECT_FALSE(shard.weights.layers[0].down_bias.empty());
}

TEST(Shard, WhatCannotBeSpreadIsRefusedWithTheNumbers) {
  const Bound two_heads(spreadable(WeightType::kF32));
  const auto heads = cut_model(two_heads.model->config, two_heads.weights, 0, 3);
  ASSERT_FALSE(heads);
  EXPECT_EQ(heads.error().code, Code::kInvalidConfig);
  EXPECT_NE(heads.error().message.find("2 key-value heads cannot be spread over 3 ranks"), std::string::npos);
  TinyModel narrow = spreadable(WeightType::kQ6K);
  narrow.feed_forward = 256;
  const Bound one_block(narrow);
  const auto columns = cut_model(one_block.model->config, one_block.weights, 0, 2);
  ASSERT_FALSE(columns);
  EXPECT_NE(columns.error().message.find("width of 256 in blocks of 256 cannot be spread over 2 ranks"),
            std::string::npos);
}

}  // namespace
}  // namespace deepserve::runner
