// A batch of sequences in a paged KV cache with random numbers, its attention on the device, and the same in
// float64. All that may not be read holds NaNs.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "kernels/cpu/float16.h"
#include "kernels/cuda/attention.h"
#include "tests/gpu/kernels/device_array.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels::cuda {

struct AttentionHeads {
  uint32_t heads, kv_heads, head_dim;
  uint32_t group() const { return heads / kv_heads; }
};

// Keys, values and queries of one sequence, every position of it, binary16.
struct TestSequence {
  TestSequence(RandomWeights& random, const AttentionHeads& shape, uint32_t count, float magnitude = 1)
      : positions(count),
        keys(half_bits(random, count * shape.kv_heads * shape.head_dim, magnitude)),
        values(half_bits(random, keys.size(), 1)),
        queries(half_bits(random, count * shape.heads * shape.head_dim, magnitude)) {}

  static std::vector<uint16_t> half_bits(RandomWeights& random, size_t count, float magnitude) {
    std::vector<uint16_t> bits(count);
    for (uint16_t& bit : bits) {
      uint8_t bytes[2];
      RandomWeights::put_half(bytes, random.uniform(-magnitude, magnitude));
      std::memcpy(&bit, bytes, 2);
    }
    return bits;
  }

  uint32_t positions;
  std::vector<uint16_t> keys, values;  // [positions, kv_heads, head_dim]
  std::vector<uint16_t> queries;       // [positions, heads, head_dim]
};

// What of a sequence is in the batch: positions [begin, begin + tokens); only what lies before their end is
// in the cache.
struct TestEntry {
  const TestSequence* sequence;
  uint32_t begin;
  uint32_t tokens;
};

struct AttentionOptions {
  bool splits = true;   // there is a workspace
  uint32_t blocks = 7;  // of each kind, if it has items; 0: one for each item and KV head
  bool wide = true;
  uint32_t multiprocessors = 4;
  uint32_t padding = 0;  // of the output's rows, elements
};

// Each token's result as bf16 bits [tokens, out_stride].
class AttentionBatch {
 public:
  static constexpr uint32_t kBlock = 16, kLayers = 2, kLayer = 1, kItemsMax = 10'000;

  AttentionBatch(const AttentionHeads& shape, std::vector<TestEntry> entries, uint32_t table_seed = 1)
      : shape_(shape), entries_(std::move(entries)) {
    uint32_t blocks = 0;
    for (const TestEntry& entry : entries_) blocks += blocks_of(entry);
    blocks += 3;  // nobody's
    std::vector<uint32_t> ids(blocks);
    std::iota(ids.begin(), ids.end(), 0);
    std::shuffle(ids.begin(), ids.end(), std::mt19937(table_seed));
    const size_t layer = size_t{2} * shape.kv_heads * kBlock * shape.head_dim;
    block_stride_ = kLayers * layer;
    std::vector<uint16_t> cache(blocks * block_stride_, 0xffff);
    std::vector<uint16_t> queries;
    std::vector<uint32_t> tables;
    for (const TestEntry& entry : entries_) {
      const auto table = static_cast<uint32_t>(tables.size());
      plan_entries_.push_back({tokens_, entry.tokens, entry.begin, table});
      tokens_ += entry.tokens;
      for (uint32_t i = 0; i < blocks_of(entry); ++i) tables.push_back(ids[tables.size()]);
      for (uint32_t p = 0; p < entry.begin + entry.tokens; ++p) {
        for (uint32_t head = 0; head < shape.kv_heads; ++head) {
          const size_t from = (size_t{p} * shape.kv_heads + head) * shape.head_dim;
          uint16_t* to = &cache[tables[table + p / kBlock] * block_stride_ + kLayer * layer +
                                (size_t{head} * kBlock + p % kBlock) * shape.head_dim];
          std::copy_n(&entry.sequence->keys[from], shape.head_dim, to);
          std::copy_n(&entry.sequence->values[from], shape.head_dim, to + layer / 2);
        }
      }
      const size_t row = size_t{shape.heads} * shape.head_dim;
      const auto first = entry.sequence->queries.begin() + static_cast<std::ptrdiff_t>(entry.begin * row);
      queries.insert(queries.end(), first, first + static_cast<std::ptrdiff_t>(entry.tokens * row));
    }
    cache_ = std::make_unique<DeviceArray<uint16_t>>(cache);
    queries_ = std::make_unique<DeviceArray<uint16_t>>(queries);
    tables_ = std::make_unique<DeviceArray<uint32_t>>(tables);
  }

  uint32_t out_stride(const AttentionOptions& options) const {
    return shape_.heads * shape_.head_dim + options.padding;
  }
  AttentionPlan plan(const AttentionOptions& options) const {
    const AttentionWorkspaceSize size = workspace_size(options);
    AttentionPlan plan;
    plan_attention(plan_entries_,
                   {.group = shape_.group(),
                    .kv_heads = shape_.kv_heads,
                    .multiprocessors = options.multiprocessors,
                    .wide = options.wide && attention_has_wide(shape_.head_dim, 227 * 1024),
                    .workspace_rows = size.rows,
                    .workspace_tiles = size.tiles,
                    .items_max = kItemsMax},
                   plan);
    return plan;
  }

  std::vector<uint16_t> attend(const AttentionOptions& options);

  // Of one row of the batch, in float64: [heads * head_dim].
  std::vector<double> exact(uint32_t entry_index, uint32_t token) const {
    const TestEntry& entry = entries_[entry_index];
    const TestSequence& sequence = *entry.sequence;
    const uint32_t position = entry.begin + token, dim = shape_.head_dim;
    std::vector<double> out(size_t{shape_.heads} * dim), weights(position + 1);
    for (uint32_t head = 0; head < shape_.heads; ++head) {
      const uint16_t* query = &sequence.queries[(size_t{position} * shape_.heads + head) * dim];
      const size_t kv_head = head / shape_.group();
      for (uint32_t p = 0; p <= position; ++p) {
        const uint16_t* key = &sequence.keys[(size_t{p} * shape_.kv_heads + kv_head) * dim];
        weights[p] = 0;
        for (uint32_t d = 0; d < dim; ++d) {
          weights[p] += double{half_to_float(query[d])} * half_to_float(key[d]);
        }
        weights[p] *= scale();
      }
      const double largest = *std::max_element(weights.begin(), weights.end());
      double sum = 0;
      for (double& weight : weights) sum += weight = std::exp(weight - largest);
      for (uint32_t p = 0; p <= position; ++p) {
        const uint16_t* value = &sequence.values[(size_t{p} * shape_.kv_heads + kv_head) * dim];
        for (uint32_t d = 0; d < dim; ++d) {
          out[size_t{head} * dim + d] += weights[p] / sum * half_to_float(value[d]);
        }
      }
    }
    return out;
  }

 private:
  friend class AttentionLaunch;

  AttentionWorkspaceSize workspace_size(const AttentionOptions& options) const {
    return {options.splits ? 100'000u : 0, options.splits ? 1'000u : 0, shape_.kv_heads, shape_.head_dim};
  }
  static uint32_t blocks_of(const TestEntry& entry) {
    return (entry.begin + entry.tokens + kBlock - 1) / kBlock;
  }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)); }

  AttentionHeads shape_;
  std::vector<TestEntry> entries_;
  std::vector<AttentionEntry> plan_entries_;
  uint32_t tokens_ = 0;
  size_t block_stride_ = 0;
  std::unique_ptr<DeviceArray<uint16_t>> cache_, queries_;
  std::unique_ptr<DeviceArray<uint32_t>> tables_;
};

// A launch over a batch, its memory in the same places for one plan after the other.
class AttentionLaunch {
 public:
  AttentionLaunch(AttentionBatch& batch, const AttentionOptions& options)
      : size_(batch.workspace_size(options)),
        options_(options),
        items_(AttentionBatch::kItemsMax),
        begins_(kAttentionKinds + 1),
        workspace_(attention_workspace_bytes(size_)),
        out_(size_t{batch.tokens_} * batch.out_stride(options)) {
    const AttentionHeads& shape = batch.shape_;
    require(cudaMemsetAsync(workspace_.data(), 0, attention_workspace_zeros(size_), stream()));
    arguments_ = {.queries = batch.queries_->data(),
                  .heads = shape.heads,
                  .kv_heads = shape.kv_heads,
                  .head_dim = shape.head_dim,
                  .scale = batch.scale(),
                  .cache = batch.cache_->data(),
                  .block_stride = batch.block_stride_,
                  .layer_offset = batch.block_stride_ / AttentionBatch::kLayers * AttentionBatch::kLayer,
                  .tables = batch.tables_->data(),
                  .items = items_.data(),
                  .begins = begins_.data(),
                  .workspace = workspace_.data(),
                  .workspace_size = size_,
                  .out = out_.data(),
                  .out_stride = batch.out_stride(options),
                  .blocks = {}};
  }

  // For what is put into the stream from now on, captured launches too.
  void take(const AttentionPlan& plan) {
    require(cudaMemcpyAsync(items_.data(), plan.items.data(), plan.items.size() * sizeof(AttentionItem),
                            cudaMemcpyHostToDevice, stream()));
    require(cudaMemcpyAsync(begins_.data(), plan.begins.data(), sizeof plan.begins, cudaMemcpyHostToDevice,
                            stream()));
    for (size_t kind = 0; kind < kAttentionKinds; ++kind) {
      const uint32_t count = plan.count(static_cast<AttentionKind>(kind)) * arguments_.kv_heads;
      arguments_.blocks[kind] = count == 0 || options_.blocks == 0 ? count : options_.blocks;
    }
    finish();
  }

  cudaError_t start() { return paged_attention(arguments_, stream()); }

  std::vector<uint16_t> results() {
    auto bits = out_.values();
    require(cudaMemsetAsync(out_.data(), 0xff, bits.size() * 2, stream()));
    const auto left = workspace_.values();
    for (size_t i = 0; i < attention_workspace_zeros(size_); ++i) {
      EXPECT_EQ(left[i], 0) << "who counts segments was left at a number";
    }
    return bits;
  }

 private:
  AttentionWorkspaceSize size_;
  AttentionOptions options_;
  DeviceArray<AttentionItem> items_;
  DeviceArray<uint32_t> begins_;
  DeviceArray<uint8_t> workspace_;
  DeviceArray<uint16_t> out_;
  AttentionArguments arguments_;
};

inline std::vector<uint16_t> AttentionBatch::attend(const AttentionOptions& options) {
  AttentionLaunch launch(*this, options);
  launch.take(plan(options));
  require(launch.start());
  return launch.results();
}

}  // namespace deepserve::kernels::cuda
