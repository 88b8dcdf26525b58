#include "runner/backend/cuda/forward.h"

#include <algorithm>

#include "ipc/base/check.h"
#include "kernels/cuda/elementwise.h"

namespace deepserve::runner::cuda {
namespace {

using kernels::cuda::DeviceMatrix;
using kernels::cuda::Epilogue;
using kernels::cuda::MatmulArguments;

constexpr uint32_t kStrideUnit = 256;  // a multiple of every format's padding

uint32_t padded(uint64_t columns) {
  return static_cast<uint32_t>((columns + kStrideUnit - 1) / kStrideUnit * kStrideUnit);
}

ProductsOptions products_options(const ForwardOptions& options) {
  return {options.tokens_max, options.deterministic, options.multiprocessors};
}

}  // namespace

void Forward::carve(uint8_t* memory, const ForwardOptions& options) {
  const ModelConfig& config = *config_;
  const uint64_t query_width = uint64_t{config.heads} * config.head_dim;
  const uint64_t kv_width = uint64_t{config.kv_heads} * config.head_dim, tokens = options.tokens_max;
  width_stride_ = padded(config.embedding);
  attended_stride_ = padded(options.attended_columns);
  attended_begin_ = options.attended_begin;
  feed_stride_ = padded(config.feed_forward);
  Carver carver(memory);
  residual_ = carver.take<float>(tokens * config.embedding);
  normalized_ = carver.take<uint16_t>(tokens * width_stride_);
  query_key_value_ = carver.take<float>(tokens * (query_width + 2 * kv_width));
  queries_ = carver.take<uint16_t>(tokens * query_width);
  // A row's zeros behind its heads reach into the next one's zeros before them, and the last one's further.
  attended_ = carver.take<uint16_t>(tokens * attended_stride_ + attended_begin_);
  product_ = carver.take<uint16_t>(tokens * feed_stride_);
  cosines_ = carver.take<float>(tokens * config.rotated_dims / 2);
  sines_ = carver.take<float>(tokens * config.rotated_dims / 2);
  hidden_ = carver.take<float>(tokens * config.embedding);
  const uint64_t rows = exchange_->first() ? std::min<uint64_t>(kLogitsRows, tokens) : 0;
  logits_ = carver.take<float>(rows * weights_->embedding.rows);
  used_bytes_ = carver.used_bytes();
}

uint64_t Forward::workspace_bytes(const ModelConfig& config, const DeviceWeights& weights,
                                  const ForwardOptions& options) {
  DeviceKvCache cache;
  DeviceExchange exchange;
  Forward forward(config, weights, cache, exchange);
  forward.carve(nullptr, options);
  return forward.used_bytes_ + Products::workspace_bytes(weights, products_options(options));
}

Result<Forward> Forward::make(const ModelConfig& config, const DeviceWeights& weights, DeviceKvCache& cache,
                              DeviceExchange& exchange, const ForwardOptions& options) {
  Forward forward(config, weights, cache, exchange);
  forward.rope_factor_ = options.rope_factor;
  TRY_ASSIGN(forward.products_, Products::make(weights, products_options(options)));
  forward.carve(nullptr, options);
  TRY_ASSIGN(forward.memory_, DeviceMemory::make(forward.used_bytes_, "a step's work"));
  forward.carve(forward.memory_.data(), options);
  // What lies behind the columns of products is read, times zero, and written by nobody.
  TRY(clear(forward.memory_.data(), forward.memory_.bytes()));
  return forward;
}

Result<void> Forward::begin(const Way& way) {
  const StepArrays& arrays = way.inputs.arrays();
  TRY(launched(kernels::cuda::embed({.table = weights_->embedding,
                                     .tokens = arrays.tokens,
                                     .drawn = way.drawn,
                                     .count = way.tokens,
                                     .out = residual_},
                                    way.stream)));
  return launched(kernels::cuda::rope_angles({.positions = arrays.positions,
                                              .frequencies = weights_->rope_frequencies,
                                              .factor = rope_factor_,
                                              .pairs = config_->rotated_dims / 2,
                                              .count = way.tokens,
                                              .cosines = cosines_,
                                              .sines = sines_},
                                             way.stream));
}

Result<void> Forward::run(const StepInputs& inputs, const StepAttention& attention,
                          const kernels::cuda::RankedLogit* drawn, cudaStream_t stream) {
  return run_layers({inputs.counts().tokens, false, inputs, attention, drawn, stream});
}

Result<void> Forward::run_any(uint32_t tokens, const StepInputs& inputs, const StepAttention& attention,
                              const kernels::cuda::RankedLogit* drawn, cudaStream_t stream) {
  return run_layers({tokens, true, inputs, attention, drawn, stream});
}

Result<void> Forward::run_layers(const Way& way) {
  TRY(begin(way));
  for (uint32_t i = 0; i < config_->layers; ++i) {
    const DeviceLayer& layer = weights_->layers[i];
    TRY(attend(layer, i, way));
    TRY(feed_forward(layer, way.tokens, way.stream));
  }
  return {};
}

Result<void> Forward::normalize(const float* weight, uint32_t count, cudaStream_t stream) {
  return launched(kernels::cuda::rms_norm({.x = residual_,
                                           .weight = weight,
                                           .epsilon = config_->rms_epsilon,
                                           .width = config_->embedding,
                                           .count = count,
                                           .out_bf16 = normalized_,
                                           .out_stride = width_stride_},
                                          stream));
}

// residual_ += matrix * inputs + bias: of all ranks, where there are several.
Result<void> Forward::add_product(const DeviceMatrix& matrix, const float* bias, const uint16_t* inputs,
                                  uint32_t stride, uint32_t tokens, cudaStream_t stream) {
  const bool alone = exchange_->alone();
  TRY(products_.run({.weights = matrix,
                     .inputs = inputs,
                     .input_stride = stride,
                     .tokens = tokens,
                     .bias = alone ? bias : nullptr,
                     .epilogue = alone ? Epilogue::kAdd : Epilogue::kStore,
                     .out = alone ? residual_ : exchange_->part(),
                     .out_stride = config_->embedding},
                    stream));
  if (alone) return {};
  return exchange_->add_parts(residual_, tokens, bias, stream);
}

Result<void> Forward::attend(const DeviceLayer& layer, uint32_t index, const Way& way) {
  const uint32_t tokens = way.tokens;
  const cudaStream_t stream = way.stream;
  const StepArrays& arrays = way.inputs.arrays();
  const uint32_t rows = (config_->heads + 2 * config_->kv_heads) * config_->head_dim;
  TRY(normalize(layer.attention_norm, tokens, stream));
  for (const JoinedMatrix& joined : layer.query_key_value) {
    const float* bias = layer.query_key_value_bias;
    TRY(products_.run({.weights = joined.matrix,
                       .inputs = normalized_,
                       .input_stride = width_stride_,
                       .tokens = tokens,
                       .bias = bias == nullptr ? nullptr : bias + joined.first_row,
                       .out = query_key_value_ + joined.first_row,
                       .out_stride = rows},
                      stream));
  }
  TRY(launched(kernels::cuda::rope_and_store(
      {.qkv = query_key_value_,
       .query_norm = layer.query_norm,
       .key_norm = layer.key_norm,
       .epsilon = config_->rms_epsilon,
       .cosines = cosines_,
       .sines = sines_,
       .pairs = config_->rotated_dims / 2,
       .adjacent_pairs = config_->rope_style == kernels::RopeStyle::kAdjacentPairs,
       .heads = config_->heads,
       .kv_heads = config_->kv_heads,
       .head_dim = config_->head_dim,
       .positions = arrays.positions,
       .block_of = arrays.block_of,
       .block_tokens = kernels::kBlockTokens,
       .cache = cache_->data(),
       .block_stride = cache_->block_stride(),
       .layer_offset = cache_->layer_offset(index),
       .count = tokens,
       .queries = queries_},
      stream)));
  const auto attended = way.any ? &StepAttention::run_any : &StepAttention::run;
  TRY((way.attention.*attended)(*cache_, index, queries_, attended_ + attended_begin_, attended_stride_,
                                stream));
  return add_product(layer.attention_output, layer.attention_output_bias, attended_, attended_stride_, tokens,
                     stream);
}

Result<void> Forward::feed_forward(const DeviceLayer& layer, uint32_t tokens, cudaStream_t stream) {
  TRY(normalize(layer.feed_forward_norm, tokens, stream));
  TRY(products_.run({.weights = layer.gate_and_up,
                     .inputs = normalized_,
                     .input_stride = width_stride_,
                     .tokens = tokens,
                     .bias = layer.gate_and_up_bias,
                     .epilogue = Epilogue::kSwiglu,
                     .out_bf16 = product_,
                     .out_stride = feed_stride_},
                    stream));
  return add_product(layer.down, layer.down_bias, product_, feed_stride_, tokens, stream);
}

Result<void> Forward::make_logits(const StepInputs& inputs, uint32_t begin, uint32_t count,
                                  cudaStream_t stream) {
  CHECK(count <= kLogitsRows);
  TRY(launched(kernels::cuda::rms_norm({.x = residual_,
                                        .rows = inputs.arrays().logits_rows + begin,
                                        .weight = weights_->output_norm,
                                        .epsilon = config_->rms_epsilon,
                                        .width = config_->embedding,
                                        .count = count,
                                        .out_bf16 = normalized_,
                                        .out_stride = width_stride_},
                                       stream)));
  TRY(products_.run({.weights = weights_->output,
                     .inputs = normalized_,
                     .input_stride = width_stride_,
                     .tokens = count,
                     .out = exchange_->alone() ? logits_ : exchange_->logits_part(),
                     .out_stride = weights_->output.rows},
                    stream));
  if (exchange_->alone()) return {};
  return exchange_->gather_logits(count, logits_, stream);
}

Result<void> Forward::make_hidden(const StepInputs& inputs, cudaStream_t stream) {
  return launched(kernels::cuda::rms_norm({.x = residual_,
                                           .rows = inputs.arrays().hidden_rows,
                                           .weight = weights_->output_norm,
                                           .epsilon = config_->rms_epsilon,
                                           .width = config_->embedding,
                                           .count = inputs.counts().hidden_rows,
                                           .out_float = hidden_,
                                           .out_stride = config_->embedding},
                                          stream));
}

}  // namespace deepserve::runner::cuda
