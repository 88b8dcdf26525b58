#include "runner/model/model_weights.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "kernels/cpu/dequantize.h"

namespace deepserve::runner {
namespace {

using kernels::Matrix;
using kernels::WeightType;

class WeightBinder {
 public:
  WeightBinder(const Gguf& file, const ModelConfig& config) : file_(file), config_(config) {}

  Result<ModelWeights> bind();

 private:
  Result<LayerWeights> bind_layer(uint32_t layer);
  Result<void> bind_attention(const std::string& prefix, LayerWeights& layer);
  Result<Matrix> matrix(const std::string& name, uint64_t rows, uint64_t columns);
  Result<std::vector<float>> vector(const std::string& name, uint64_t size);
  Result<std::vector<float>> vector_if(bool needed, const std::string& name, uint64_t size);
  const GgufTensor* take(const std::string& name);
  Result<void> check_all_used() const;
  void count(ModelWeights& weights) const;

  tl::unexpected<Error> missing(const std::string& name) const {
    return fail(Code::kBadModelFile, "{}: tensor \"{}\" is missing", file_.name(), name);
  }

  const Gguf& file_;
  const ModelConfig& config_;
  std::set<const GgufTensor*> used_;
};

const GgufTensor* WeightBinder::take(const std::string& name) {
  const GgufTensor* tensor = file_.find_tensor(name);
  if (tensor != nullptr) used_.insert(tensor);
  return tensor;
}

std::string shape_text(const GgufTensor& tensor) {
  std::string text;
  for (uint32_t i = 0; i < tensor.dimension_count; ++i)
    text += fmt::format("{}{}", i == 0 ? "" : "x", tensor.dimensions[i]);
  return text;
}

Result<Matrix> WeightBinder::matrix(const std::string& name, uint64_t rows, uint64_t columns) {
  const GgufTensor* tensor = take(name);
  if (tensor == nullptr) return missing(name);
  if (tensor->dimensions != std::array<uint64_t, 4>{columns, rows, 1, 1}) {
    return file_.bad_tensor(*tensor,
                            fmt::format("its shape is {}, not {}x{}", shape_text(*tensor), columns, rows));
  }
  return Matrix{tensor->bytes.data(), tensor->type, rows, columns,
                kernels::weight_row_bytes(tensor->type, columns)};
}

Result<std::vector<float>> WeightBinder::vector(const std::string& name, uint64_t size) {
  const GgufTensor* tensor = take(name);
  if (tensor == nullptr) return missing(name);
  if (tensor->dimensions != std::array<uint64_t, 4>{size, 1, 1, 1}) {
    return file_.bad_tensor(*tensor, fmt::format("its shape is {}, not {}", shape_text(*tensor), size));
  }
  std::vector<float> values(size);
  kernels::dequantize_row(tensor->type, tensor->bytes.data(), size, values.data());
  return values;
}

// An empty vector when the tensor is not there and is not `needed`.
Result<std::vector<float>> WeightBinder::vector_if(bool needed, const std::string& name, uint64_t size) {
  if (!needed && file_.find_tensor(name) == nullptr) return std::vector<float>{};
  return vector(name, size);
}

Result<void> WeightBinder::bind_attention(const std::string& prefix, LayerWeights& layer) {
  const ArchitectureTraits& traits = architecture_traits(config_.architecture);
  const uint64_t query_rows = uint64_t{config_.heads} * config_.head_dim;
  const uint64_t kv_rows = uint64_t{config_.kv_heads} * config_.head_dim;
  TRY_ASSIGN(layer.query, matrix(prefix + "attn_q.weight", query_rows, config_.embedding));
  TRY_ASSIGN(layer.key, matrix(prefix + "attn_k.weight", kv_rows, config_.embedding));
  TRY_ASSIGN(layer.value, matrix(prefix + "attn_v.weight", kv_rows, config_.embedding));
  TRY_ASSIGN(layer.query_bias, vector_if(traits.needs_qkv_bias, prefix + "attn_q.bias", query_rows));
  TRY_ASSIGN(layer.key_bias, vector_if(traits.needs_qkv_bias, prefix + "attn_k.bias", kv_rows));
  TRY_ASSIGN(layer.value_bias, vector_if(traits.needs_qkv_bias, prefix + "attn_v.bias", kv_rows));
  if (traits.needs_qk_norm) {
    TRY_ASSIGN(layer.query_norm, vector(prefix + "attn_q_norm.weight", config_.head_dim));
    TRY_ASSIGN(layer.key_norm, vector(prefix + "attn_k_norm.weight", config_.head_dim));
  }
  TRY_ASSIGN(layer.attention_output, matrix(prefix + "attn_output.weight", config_.embedding, query_rows));
  TRY_ASSIGN(layer.attention_output_bias, vector_if(false, prefix + "attn_output.bias", config_.embedding));
  return {};
}

Result<LayerWeights> WeightBinder::bind_layer(uint32_t index) {
  const std::string prefix = fmt::format("blk.{}.", index);
  LayerWeights layer;
  TRY_ASSIGN(layer.attention_norm, vector(prefix + "attn_norm.weight", config_.embedding));
  TRY(bind_attention(prefix, layer));
  TRY_ASSIGN(layer.feed_forward_norm, vector(prefix + "ffn_norm.weight", config_.embedding));
  TRY_ASSIGN(layer.gate, matrix(prefix + "ffn_gate.weight", config_.feed_forward, config_.embedding));
  TRY_ASSIGN(layer.up, matrix(prefix + "ffn_up.weight", config_.feed_forward, config_.embedding));
  TRY_ASSIGN(layer.down, matrix(prefix + "ffn_down.weight", config_.embedding, config_.feed_forward));
  return layer;
}

Result<void> WeightBinder::check_all_used() const {
  for (const GgufTensor& tensor : file_.tensors()) {
    if (used_.contains(&tensor)) continue;
    // Old converters wrote the rotation's frequencies into every layer; they repeat what rope.freq_base says.
    if (tensor.name.ends_with("attn_rot_embd") || tensor.name.ends_with("attn_rot_embd.weight")) continue;
    return fail(Code::kNotSupported, "{}: tensor \"{}\" at offset {} is not part of a {} model as we know it",
                file_.name(), printable(tensor.name), tensor.offset,
                architecture_traits(config_.architecture).name);
  }
  return {};
}

void WeightBinder::count(ModelWeights& weights) const {
  uint64_t elements[static_cast<size_t>(WeightType::kCount)] = {};
  for (const GgufTensor& tensor : file_.tensors()) {
    weights.parameters += tensor.elements;
    weights.size_bytes += tensor.bytes.size();
    elements[static_cast<size_t>(tensor.type)] += tensor.elements;
  }
  weights.main_type =
      static_cast<WeightType>(std::max_element(std::begin(elements), std::end(elements)) - elements);
}

Result<ModelWeights> WeightBinder::bind() {
  ModelWeights weights;
  const GgufTensor* embedding = file_.find_tensor("token_embd.weight");
  if (embedding == nullptr) return missing("token_embd.weight");
  const uint64_t vocabulary = embedding->dimensions[1];
  if (vocabulary > UINT32_MAX) return file_.bad_tensor(*embedding, "its vocabulary does not fit 32 bits");
  TRY_ASSIGN(weights.embedding, matrix(embedding->name, vocabulary, config_.embedding));
  for (uint32_t i = 0; i < config_.layers; ++i) {
    TRY_ASSIGN(LayerWeights layer, bind_layer(i));
    weights.layers.push_back(std::move(layer));
  }
  TRY_ASSIGN(weights.output_norm, vector("output_norm.weight", config_.embedding));
  weights.output = weights.embedding;
  if (file_.find_tensor("output.weight") != nullptr) {
    TRY_ASSIGN(weights.output, matrix("output.weight", vocabulary, config_.embedding));
  }
  TRY_ASSIGN(weights.rope_factors, vector_if(false, "rope_freqs.weight", config_.rotated_dims / 2));
  for (const float factor : weights.rope_factors) {
    if (std::isfinite(factor) && factor > 0) continue;
    return file_.bad_tensor(*file_.find_tensor("rope_freqs.weight"),
                            fmt::format("{} is no rope factor", factor));
  }
  TRY(check_all_used());
  count(weights);
  return weights;
}

}  // namespace

Result<ModelWeights> bind_model_weights(const Gguf& file, const ModelConfig& config) {
  return WeightBinder(file, config).bind();
}

}  // namespace deepserve::runner
