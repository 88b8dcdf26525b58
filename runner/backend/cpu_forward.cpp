#include "runner/backend/cpu_forward.h"

#include <algorithm>
#include <cmath>

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

using kernels::AttentionArguments;
using kernels::InputBlock;
using kernels::kBlockTokens;
using kernels::KvStoreArguments;
using kernels::Matrix;
using kernels::PackedMatrix;

constexpr size_t kElementwiseChunk = 4;
constexpr size_t kFeedParts = 4;          // of a feed-forward layer's product, in a step of the most tokens
constexpr size_t kFeedPartRows = 32;      // parts are of so many rows, or a multiple
constexpr size_t kAttentionQueries = 64;  // of one tile: so many share one reading of the cache
constexpr size_t kAttentionWorkMin = 1 << 17;  // products of less are not worth waking other threads for

const float* data_of(const std::vector<float>& bias) {
  return bias.empty() ? nullptr : bias.data();
}

// `rows` up to where a part may end.
size_t whole_parts(size_t rows) {
  return (rows + kFeedPartRows - 1) / kFeedPartRows * kFeedPartRows;
}

// Of the feed-forward layers' rows: all, where a product that is not packed takes them all at once.
size_t feed_part(const ModelWeights& weights, const PackedWeights& packed, const ModelConfig& config) {
  for (uint32_t i = 0; i < weights.layers.size(); ++i) {
    if (packed.layer(i).down.data == nullptr) return config.feed_forward;
  }
  return std::min<size_t>(whole_parts((config.feed_forward + kFeedParts - 1) / kFeedParts),
                          config.feed_forward);
}

}  // namespace

CpuForward::CpuForward(const ModelShard& model, const PackedWeights& packed, const kernels::Kernels& kernels,
                       kernels::ThreadPool& threads, KvCache& cache, Collective* collective,
                       uint32_t tokens_max)
    : config_(model.config),
      weights_(model.weights),
      share_(model.share),
      packed_(packed),
      kernels_(kernels),
      threads_(threads),
      cache_(cache),
      rope_(config_, weights_.rope_factors),
      ranks_(model.share, collective, tokens_max, config_.embedding),
      query_width_(size_t{config_.heads} * config_.head_dim),
      kv_width_(size_t{config_.kv_heads} * config_.head_dim),
      attended_width_(model.share.attended.size()),
      attended_begin_(model.share.heads.begin * config_.head_dim - model.share.attended.begin),
      feed_part_(feed_part(weights_, packed, config_)),
      residual_(size_t{tokens_max} * config_.embedding),
      normalized_(size_t{tokens_max} * config_.embedding),
      query_(tokens_max * query_width_),
      key_(tokens_max * kv_width_),
      value_(tokens_max * kv_width_),
      attended_(tokens_max * attended_width_),
      gate_(tokens_max * feed_part_),
      up_(tokens_max * feed_part_),
      cosines_(tokens_max * rope_.pairs()),
      sines_(tokens_max * rope_.pairs()),
      product_(packed.size_bytes() == 0 ? 0 : tokens_max * kernels::input_blocks(config_.feed_forward)),
      matmul_(
          kernels, threads,
          packed.size_bytes() == 0 ? 0 : tokens_max * std::max<size_t>(config_.embedding, attended_width_)) {
  tiles_.reserve(tokens_max);
  sums_scales_.reserve(tokens_max);
}

Result<void> CpuForward::run(std::span<const ForwardToken> tokens, const StepOutputs& outputs) {
  embed(tokens);
  plan_attention(tokens);
  for (uint32_t i = 0; i < config_.layers; ++i) {
    const LayerWeights& layer = weights_.layers[i];
    const PackedLayer& packed = packed_.layer(i);
    const bool rounds = packed.query.data != nullptr;
    normalize(tokens.size(), layer.attention_norm, rounds);
    const MatmulJob inputs[] = {{&layer.query, &packed.query, data_of(layer.query_bias), query_.data()},
                                {&layer.key, &packed.key, data_of(layer.key_bias), key_.data()},
                                {&layer.value, &packed.value, data_of(layer.value_bias), value_.data()}};
    matmul_.multiply(inputs, normalized_.data(), tokens.size(), {.is_rounded = rounds});
    rotate_and_store(tokens, i);
    attend(tokens, i);
    TRY(add_product(layer.attention_output, packed.attention_output, layer.attention_output_bias,
                    share_.attended_parts, attended_.data(), tokens.size(), nullptr));
    TRY(feed_forward(tokens.size(), layer, packed));
  }
  write_hidden(tokens, outputs.hidden);
  return write_logits(tokens, outputs);
}

// residual += weights * inputs + bias: of all ranks, where there are several.
Result<void> CpuForward::add_product(const Matrix& weights, const PackedMatrix& packed,
                                     const std::vector<float>& bias, const kernels::ColumnParts& parts,
                                     const float* inputs, size_t tokens, const InputBlock* rounded) {
  const bool alone = ranks_.alone();
  MatmulJob job{&weights, &packed, nullptr, ranks_.part(), parts, rounded};
  if (alone) job.bias = data_of(bias), job.outputs = residual_.data();
  matmul_.multiply({&job, 1}, inputs, tokens, {.accumulate = alone, .is_rounded = rounded != nullptr});
  if (alone) return {};
  return ranks_.add_parts({residual_.data(), tokens * config_.embedding}, bias);
}

void CpuForward::embed(std::span<const ForwardToken> tokens) {
  const Matrix& table = weights_.embedding;
  threads_.parallel_for(tokens.size(), kElementwiseChunk, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      float* row = &residual_[t * config_.embedding];
      if (packed_.embedding().data != nullptr)
        kernels::dequantize_packed_row(packed_.embedding(), tokens[t].token, row);
      else
        kernels_.dequantize(table.type, table.data + tokens[t].token * table.row_bytes, table.columns, row);
      rope_.angles(tokens[t].position, &cosines_[t * rope_.pairs()], &sines_[t * rope_.pairs()]);
    }
  });
}

// Rounds its results too, for the packed matrix that takes them, where `rounds`.
void CpuForward::normalize(size_t tokens, const std::vector<float>& weight, bool rounds) {
  const size_t width = config_.embedding;
  threads_.parallel_for(tokens, kElementwiseChunk, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      kernels_.rms_norm(&residual_[t * width], weight.data(), config_.rms_epsilon, width,
                        &normalized_[t * width]);
      if (rounds) matmul_.round(normalized_.data(), width, t);
    }
  });
}

// Qwen3's norm of one query or key head, then the rotation by its position.
void CpuForward::prepare_head(float* head, const std::vector<float>& norm, size_t token) const {
  if (!norm.empty()) kernels_.rms_norm(head, norm.data(), config_.rms_epsilon, config_.head_dim, head);
  kernels_.rope(head, &cosines_[token * rope_.pairs()], &sines_[token * rope_.pairs()], config_.rotated_dims,
                config_.rope_style);
}

void CpuForward::rotate_and_store(std::span<const ForwardToken> tokens, uint32_t layer) {
  const LayerWeights& weights = weights_.layers[layer];
  const size_t head_dim = config_.head_dim;
  threads_.parallel_for(tokens.size(), kElementwiseChunk, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      for (size_t h = 0; h < config_.heads; ++h) {
        prepare_head(&query_[t * query_width_ + h * head_dim], weights.query_norm, t);
      }
      uint8_t* block = cache_.block(tokens[t].blocks[tokens[t].position / kBlockTokens]);
      for (uint32_t h = 0; h < config_.kv_heads; ++h) {
        float* key = &key_[t * kv_width_ + h * head_dim];
        prepare_head(key, weights.key_norm, t);
        KvStoreArguments arguments;
        arguments.type = cache_.type();
        arguments.head_dim = head_dim;
        arguments.slot = tokens[t].position % kBlockTokens;
        arguments.key = key;
        arguments.value = &value_[t * kv_width_ + h * head_dim];
        arguments.keys = block + cache_.key_offset(layer, h);
        arguments.values = block + cache_.value_offset(layer, h);
        kernels_.store_kv(arguments);
      }
    }
  });
}

// Cuts the tokens into tiles that attend together, the longest contexts first, so that the last ones to be
// handed out are short.
void CpuForward::plan_attention(std::span<const ForwardToken> tokens) {
  const size_t group = config_.heads / config_.kv_heads;
  const size_t tile_tokens = std::max<size_t>(1, kAttentionQueries / group);
  tiles_.clear();
  attention_work_ = 0;
  for (size_t t = 0; t < tokens.size(); ++t) {
    attention_work_ += size_t{tokens[t].position} + 1;
    if (!tiles_.empty()) {
      AttentionTile& last = tiles_.back();
      const ForwardToken& before = tokens[t - 1];
      if (last.count < tile_tokens && tokens[t].blocks == before.blocks &&
          tokens[t].position == before.position + 1) {
        ++last.count;
        continue;
      }
    }
    tiles_.push_back({static_cast<uint32_t>(t), 1});
  }
  attention_work_ *= query_width_;
  const auto cost = [&](const AttentionTile& tile) {
    return uint64_t{tile.count} * (tokens[tile.first].position + tile.count);
  };
  std::sort(tiles_.begin(), tiles_.end(),
            [&](const AttentionTile& a, const AttentionTile& b) { return cost(a) > cost(b); });
  // The heads of a group share the reading of keys and values: they are parted only to give every thread
  // work.
  const size_t items = tiles_.size() * config_.kv_heads;
  const size_t wanted = items % threads_.threads() == 0 ? items : 4 * threads_.threads();
  head_parts_ = std::clamp<size_t>((wanted + items - 1) / items, 1, group);
}

void CpuForward::attend(std::span<const ForwardToken> tokens, uint32_t layer) {
  const size_t group = config_.heads / config_.kv_heads;
  const size_t items = tiles_.size() * config_.kv_heads * head_parts_;
  const size_t chunk = attention_work_ < kAttentionWorkMin ? items : 1;
  threads_.parallel_for(items, chunk, [&](size_t begin, size_t end) {
    for (size_t item = begin; item < end; ++item) {
      const AttentionTile& tile = tiles_[item / (config_.kv_heads * head_parts_)];
      const auto kv_head = static_cast<uint32_t>(item / head_parts_ % config_.kv_heads);
      const size_t part = item % head_parts_;
      const size_t head = group * part / head_parts_, head_end = group * (part + 1) / head_parts_;
      attend_tile(tokens[tile.first], tile, layer, kv_head, head, head_end);
    }
  });
}

// Query heads [head, head_end) of those that share `kv_head`.
void CpuForward::attend_tile(const ForwardToken& token, const AttentionTile& tile, uint32_t layer,
                             uint32_t kv_head, size_t head, size_t head_end) {
  const size_t head_dim = config_.head_dim;
  const size_t group = config_.heads / config_.kv_heads;
  const size_t offset = (kv_head * group + head) * head_dim;
  AttentionArguments arguments;
  arguments.queries = &query_[tile.first * query_width_ + offset];
  arguments.query_stride = query_width_;
  arguments.tokens = tile.count;
  arguments.heads = head_end - head;
  arguments.position = token.position;
  arguments.head_dim = head_dim;
  arguments.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  arguments.kv_type = cache_.type();
  arguments.cache = cache_.data();
  arguments.blocks = token.blocks;
  arguments.block_stride = cache_.block_bytes();
  arguments.key_offset = cache_.key_offset(layer, kv_head);
  arguments.value_offset = cache_.value_offset(layer, kv_head);
  arguments.out = &attended_[tile.first * attended_width_ + attended_begin_ + offset];
  arguments.out_stride = attended_width_;
  kernels_.attention(arguments);
}

// How many rows of gate and up are made at a time: all, or as many as there is room for, in even parts.
size_t CpuForward::part_for(size_t tokens) const {
  const size_t width = config_.feed_forward, room = gate_.size() / tokens;
  if (room >= width) return width;
  const size_t most = room / kFeedPartRows * kFeedPartRows, parts = (width + most - 1) / most;
  return whole_parts((width + parts - 1) / parts);
}

// The product of gate and up is made in as many parts as their memory needs. Where `down` is packed, only its
// rounded form is kept; how it is cut changes no bit of that.
Result<void> CpuForward::feed_forward(size_t tokens, const LayerWeights& layer, const PackedLayer& packed) {
  const size_t width = config_.feed_forward, blocks = kernels::input_blocks(width);
  const size_t part = part_for(tokens);
  const bool rounds = packed.down.data != nullptr;
  normalize(tokens, layer.feed_forward_norm, packed.gate.data != nullptr);
  for (size_t begin = 0; begin < width; begin += part) {
    const Range rows{begin, std::min(begin + part, width)};
    multiply_gate_and_up(tokens, layer, packed, rows);
    threads_.parallel_for(tokens, kElementwiseChunk, [&](size_t first, size_t last) {
      for (size_t t = first; t < last; ++t) {
        float* gate = &gate_[t * rows.size()];
        kernels_.silu_multiply(gate, &up_[t * rows.size()], rows.size());
        if (rounds)
          kernels_.quantize_inputs(gate, rows.size(), &product_[t * blocks + kernels::input_blocks(begin)]);
      }
    });
  }
  return add_product(layer.down, packed.down, layer.down_bias, share_.down_parts, gate_.data(), tokens,
                     rounds ? product_.data() : nullptr);
}

void CpuForward::multiply_gate_and_up(size_t tokens, const LayerWeights& layer, const PackedLayer& packed,
                                      const Range& rows) {
  const auto bias_of = [&](const std::vector<float>& bias) {
    return bias.empty() ? nullptr : bias.data() + rows.begin;
  };
  const Matrix gate = rows_of(layer.gate, rows), up = rows_of(layer.up, rows);
  const PackedMatrix packed_gate = rows_of(packed.gate, rows), packed_up = rows_of(packed.up, rows);
  const MatmulJob inputs[] = {{&gate, &packed_gate, bias_of(layer.gate_bias), gate_.data()},
                              {&up, &packed_up, bias_of(layer.up_bias), up_.data()}};
  matmul_.multiply(inputs, normalized_.data(), tokens, {.is_rounded = packed.gate.data != nullptr});
}

void CpuForward::write_hidden(std::span<const ForwardToken> tokens, std::span<float> hidden) {
  const size_t width = config_.embedding;
  float* row = hidden.data();
  for (size_t t = 0; t < tokens.size(); ++t) {
    if (!tokens[t].wants_hidden) continue;
    kernels_.rms_norm(&residual_[t * width], weights_.output_norm.data(), config_.rms_epsilon, width, row);
    row += width;
  }
}

Result<void> CpuForward::write_logits(std::span<const ForwardToken> tokens, const StepOutputs& outputs) {
  const size_t width = config_.embedding;
  sums_scales_.clear();
  for (size_t t = 0; t < tokens.size(); ++t) {
    if (!tokens[t].wants_logits) continue;
    kernels_.rms_norm(&residual_[t * width], weights_.output_norm.data(), config_.rms_epsilon, width,
                      &normalized_[sums_scales_.size() * width]);
    sums_scales_.push_back(tokens[t].sums_scale);
  }
  if (sums_scales_.empty()) return {};
  if (!ranks_.alone()) return gather_logits(outputs);
  const MatmulJob output{&weights_.output, &packed_.output(), nullptr, outputs.logits.data()};
  if (outputs.largest.empty()) {
    matmul_.multiply({&output, 1}, normalized_.data(), sums_scales_.size(), {});
  } else {
    matmul_.multiply_logits(output, normalized_.data(),
                            {sums_scales_, outputs.largest.data(), outputs.sums.data()});
  }
  return {};
}

Result<void> CpuForward::gather_logits(const StepOutputs& outputs) {
  const size_t rows = sums_scales_.size(), vocabulary = outputs.logits.size() / rows;
  for (size_t begin = 0; begin < rows; begin += RankExchange::kLogitsRows) {
    const size_t count = std::min(RankExchange::kLogitsRows, rows - begin);
    const MatmulJob output{&weights_.output, &packed_.output(), nullptr, ranks_.logits_part()};
    matmul_.multiply({&output, 1}, &normalized_[begin * config_.embedding], count, {});
    TRY(ranks_.gather_logits(count, outputs.logits.subspan(begin * vocabulary, count * vocabulary)));
  }
  if (!outputs.largest.empty()) {
    matmul_.outline(outputs.logits.data(), vocabulary,
                    {sums_scales_, outputs.largest.data(), outputs.sums.data()});
  }
  return {};
}

}  // namespace deepserve::runner
