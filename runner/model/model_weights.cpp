#include "runner/model/model_weights.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "kernels/cpu/dequantize.h"
#include "runner/model/weight_names.h"

namespace deepserve::runner {
namespace {

using kernels::Matrix;
using kernels::WeightType;

constexpr float kScaleMax = 0x1p100f;  // far from where a scaled weight would be infinite

class WeightBinder {
 public:
  // With `reads_values` false the vectors' values are all 0.
  WeightBinder(const ModelTensors& tensors, const ModelConfig& config, bool reads_values)
      : tensors_(tensors), config_(config), reads_values_(reads_values) {}

  Result<ModelWeights> bind();

 private:
  Result<LayerWeights> bind_layer(uint32_t layer);
  Result<void> bind_attention(uint32_t layer, LayerWeights& weights);
  Result<void> bind_feed_forward(uint32_t layer, LayerWeights& weights);
  Result<Matrix> bind_embedding();
  Result<std::vector<float>> bind_rope_factors();

  Result<Matrix> matrix(WeightPart part, uint32_t layer, uint64_t rows, uint64_t columns);
  Result<std::vector<float>> norm(WeightPart part, uint32_t layer, uint64_t size,
                                  Presence presence = Presence::kNeeded) {
    return vector(weight_name(tensors_.naming(), part, WeightSuffix::kWeight, layer), size, presence);
  }
  Result<std::vector<float>> bias(WeightPart part, uint32_t layer, uint64_t size, Presence presence) {
    return vector(weight_name(tensors_.naming(), part, WeightSuffix::kBias, layer), size, presence);
  }
  Result<void> bind_scales(const std::string& name, const StoredTensor& tensor, Matrix& matrix);
  Result<std::vector<float>> read_scales(const StoredTensor& tensor);
  Result<std::vector<float>> vector(const std::string& name, uint64_t size, Presence presence);
  Result<const StoredTensor*> take(const std::string& name, const std::array<uint64_t, 4>& dimensions);
  bool is_stored(WeightPart part) const {
    return tensors_.find(weight_name(tensors_.naming(), part, WeightSuffix::kWeight)) != nullptr;
  }
  Result<void> check_all_used() const;
  void count(ModelWeights& weights) const;

  const ModelTensors& tensors_;
  const ModelConfig& config_;
  bool reads_values_;
  std::set<const StoredTensor*> used_;
  std::vector<std::vector<float>> scales_;
};

Result<const StoredTensor*> WeightBinder::take(const std::string& name,
                                               const std::array<uint64_t, 4>& dimensions) {
  const StoredTensor* tensor = tensors_.find(name);
  if (tensor == nullptr) return tensors_.missing(name);
  if (tensor->dimensions != dimensions) {
    const std::string wanted = dimensions[1] == 1 ? fmt::format("{}", dimensions[0])
                                                  : fmt::format("{}x{}", dimensions[0], dimensions[1]);
    return tensors_.bad(*tensor, fmt::format("its shape is {}, not {}", shape_text(*tensor), wanted));
  }
  used_.insert(tensor);
  return tensor;
}

Result<Matrix> WeightBinder::matrix(WeightPart part, uint32_t layer, uint64_t rows, uint64_t columns) {
  const std::string name = weight_name(tensors_.naming(), part, WeightSuffix::kWeight, layer);
  TRY_ASSIGN(const StoredTensor* tensor, take(name, {columns, rows, 1, 1}));
  Matrix matrix{tensor->bytes.data(), tensor->type, rows, columns,
                kernels::weight_row_bytes(tensor->type, columns)};
  if (tensor->type == WeightType::kF8E4M3) TRY(bind_scales(name, *tensor, matrix));
  return matrix;
}

// Of 8-bit floats, as quantization_config says that they are scaled: "weight_scale_inv" for blocks (which
// multiplies, whatever its name says), "weight_scale" for rows.
Result<void> WeightBinder::bind_scales(const std::string& name, const StoredTensor& tensor, Matrix& matrix) {
  if (config_.fp8_scaling == Fp8Scaling::kNone)
    return tensors_.bad(tensor, "F8_E4M3, of which no quantization_config says how it is scaled");
  const bool in_blocks = config_.fp8_scaling == Fp8Scaling::kBlocks;
  const std::string scale_name = name + (in_blocks ? "_scale_inv" : "_scale");
  const StoredTensor* scale = tensors_.find(scale_name);
  if (scale == nullptr) return tensors_.missing(scale_name);
  const auto blocks = [](size_t size) { return (size + kFp8Block - 1) / kFp8Block; };
  if (in_blocks) {
    matrix.scales.stride = blocks(matrix.columns);
    matrix.scales.rows = matrix.scales.columns = kFp8Block;
    TRY(take(scale_name, {matrix.scales.stride, blocks(matrix.rows), 1, 1}));
  } else {
    // [rows], [rows, 1], or a single number.
    const bool of_rows = scale->elements == matrix.rows;
    const bool fits =
        of_rows ? scale->dimensions[0] == 1 || scale->dimension_count == 1 : scale->elements == 1;
    if (!fits) {
      return tensors_.bad(*scale, fmt::format("its shape is {}, which is neither one scale nor one for each "
                                              "of {} rows",
                                              shape_text(*scale), matrix.rows));
    }
    matrix.scales.stride = 1;
    matrix.scales.rows = of_rows ? 1 : 0;
    used_.insert(scale);
  }
  // Of inputs that others round to 8 bits, too. Ours are not.
  const std::string input_name =
      name.substr(0, name.size() - std::string_view("weight").size()) + "input_scale";
  if (const StoredTensor* input = tensors_.find(input_name)) used_.insert(input);
  TRY_ASSIGN(std::vector<float> values, read_scales(*scale));
  scales_.push_back(std::move(values));
  matrix.scales.values = scales_.back().data();
  return {};
}

Result<std::vector<float>> WeightBinder::read_scales(const StoredTensor& tensor) {
  if (kernels::weight_format(tensor.type).block_elements != 1 || tensor.type == WeightType::kF8E4M3) {
    return tensors_.bad(tensor, fmt::format("scales of type {}", kernels::weight_format(tensor.type).name));
  }
  std::vector<float> values(tensor.elements);
  if (!reads_values_) return values;
  kernels::dequantize_row(tensor.type, tensor.bytes.data(), values.size(), values.data());
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::abs(values[i]) <= kScaleMax) continue;  // never of what is no number
    return tensors_.bad(tensor, fmt::format("scale {} is {}", i, values[i]));
  }
  return values;
}

// Empty when the tensor is not there and need not be.
Result<std::vector<float>> WeightBinder::vector(const std::string& name, uint64_t size, Presence presence) {
  if (presence == Presence::kAbsent) return std::vector<float>{};
  if (presence == Presence::kIfStored && tensors_.find(name) == nullptr) return std::vector<float>{};
  TRY_ASSIGN(const StoredTensor* tensor, take(name, {size, 1, 1, 1}));
  if (tensor->type == WeightType::kF8E4M3)
    return tensors_.bad(*tensor, "F8_E4M3 where numbers without scales belong");
  std::vector<float> values(size);
  if (reads_values_) kernels::dequantize_row(tensor->type, tensor->bytes.data(), size, values.data());
  return values;
}

Result<void> WeightBinder::bind_attention(uint32_t layer, LayerWeights& weights) {
  const uint64_t query_rows = uint64_t{config_.heads} * config_.head_dim;
  const uint64_t kv_rows = uint64_t{config_.kv_heads} * config_.head_dim;
  const Presence biases = config_.query_key_value_bias;
  TRY_ASSIGN(weights.query, matrix(WeightPart::kQuery, layer, query_rows, config_.embedding));
  TRY_ASSIGN(weights.key, matrix(WeightPart::kKey, layer, kv_rows, config_.embedding));
  TRY_ASSIGN(weights.value, matrix(WeightPart::kValue, layer, kv_rows, config_.embedding));
  TRY_ASSIGN(weights.query_bias, bias(WeightPart::kQuery, layer, query_rows, biases));
  TRY_ASSIGN(weights.key_bias, bias(WeightPart::kKey, layer, kv_rows, biases));
  TRY_ASSIGN(weights.value_bias, bias(WeightPart::kValue, layer, kv_rows, biases));
  TRY_ASSIGN(weights.query_norm, norm(WeightPart::kQueryNorm, layer, config_.head_dim, config_.head_norm));
  TRY_ASSIGN(weights.key_norm, norm(WeightPart::kKeyNorm, layer, config_.head_dim, config_.head_norm));
  TRY_ASSIGN(weights.attention_output,
             matrix(WeightPart::kAttentionOutput, layer, config_.embedding, query_rows));
  TRY_ASSIGN(weights.attention_output_bias,
             bias(WeightPart::kAttentionOutput, layer, config_.embedding, config_.attention_output_bias));
  return {};
}

Result<void> WeightBinder::bind_feed_forward(uint32_t layer, LayerWeights& weights) {
  const uint64_t width = config_.feed_forward;
  const Presence biases = config_.feed_forward_bias;
  TRY_ASSIGN(weights.gate, matrix(WeightPart::kGate, layer, width, config_.embedding));
  TRY_ASSIGN(weights.up, matrix(WeightPart::kUp, layer, width, config_.embedding));
  TRY_ASSIGN(weights.down, matrix(WeightPart::kDown, layer, config_.embedding, width));
  TRY_ASSIGN(weights.gate_bias, bias(WeightPart::kGate, layer, width, biases));
  TRY_ASSIGN(weights.up_bias, bias(WeightPart::kUp, layer, width, biases));
  TRY_ASSIGN(weights.down_bias, bias(WeightPart::kDown, layer, config_.embedding, biases));
  return {};
}

Result<LayerWeights> WeightBinder::bind_layer(uint32_t layer) {
  LayerWeights weights;
  TRY_ASSIGN(weights.attention_norm, norm(WeightPart::kAttentionNorm, layer, config_.embedding));
  TRY(bind_attention(layer, weights));
  TRY_ASSIGN(weights.feed_forward_norm, norm(WeightPart::kFeedForwardNorm, layer, config_.embedding));
  TRY(bind_feed_forward(layer, weights));
  return weights;
}

Result<Matrix> WeightBinder::bind_embedding() {
  uint64_t rows = config_.vocabulary;
  if (rows == 0) {
    const std::string name = weight_name(tensors_.naming(), WeightPart::kEmbedding, WeightSuffix::kWeight);
    const StoredTensor* tensor = tensors_.find(name);
    if (tensor == nullptr) return tensors_.missing(name);
    rows = tensor->dimensions[1];
    if (rows > ModelLimits::kVocabularyMax) {
      return tensors_.bad(*tensor, fmt::format("a vocabulary of {} tokens, at most {} are allowed", rows,
                                               ModelLimits::kVocabularyMax));
    }
  }
  return matrix(WeightPart::kEmbedding, 0, rows, config_.embedding);
}

Result<std::vector<float>> WeightBinder::bind_rope_factors() {
  TRY_ASSIGN(auto factors, norm(WeightPart::kRopeFactors, 0, config_.rotated_dims / 2, config_.rope_factors));
  for (const float factor : factors) {
    if (!reads_values_ || (std::isfinite(factor) && factor > 0)) continue;
    const std::string name = weight_name(tensors_.naming(), WeightPart::kRopeFactors, WeightSuffix::kWeight);
    return tensors_.bad(*tensors_.find(name), fmt::format("{} is no rope factor", factor));
  }
  return factors;
}

// Old converters and old versions of transformers wrote the rotation's frequencies into every layer; they
// repeat what the config says.
bool repeats_the_config(const std::string& name) {
  return name.ends_with("attn_rot_embd") || name.ends_with("attn_rot_embd.weight") ||
         name.ends_with("rotary_emb.inv_freq");
}

Result<void> WeightBinder::check_all_used() const {
  for (const StoredTensor& tensor : tensors_.all()) {
    if (used_.contains(&tensor) || repeats_the_config(tensor.name)) continue;
    return fail(Code::kNotSupported, "{}: tensor \"{}\" at offset {} is not part of a {} model as we know it",
                tensors_.file_of(tensor), printable(tensor.name), tensor.offset,
                architecture_name(config_.architecture));
  }
  return {};
}

void WeightBinder::count(ModelWeights& weights) const {
  uint64_t elements[static_cast<size_t>(WeightType::kCount)] = {};
  for (const StoredTensor& tensor : tensors_.all()) {
    weights.parameters += tensor.elements;
    weights.size_bytes += tensor.bytes.size();
    elements[static_cast<size_t>(tensor.type)] += tensor.elements;
  }
  weights.main_type =
      static_cast<WeightType>(std::max_element(std::begin(elements), std::end(elements)) - elements);
}

Result<ModelWeights> WeightBinder::bind() {
  ModelWeights weights;
  TRY_ASSIGN(weights.embedding, bind_embedding());
  for (uint32_t i = 0; i < config_.layers; ++i) {
    TRY_ASSIGN(LayerWeights layer, bind_layer(i));
    weights.layers.push_back(std::move(layer));
  }
  TRY_ASSIGN(weights.output_norm, norm(WeightPart::kOutputNorm, 0, config_.embedding));
  weights.output = weights.embedding;
  if (config_.output_head == Presence::kNeeded || is_stored(WeightPart::kOutput)) {
    TRY_ASSIGN(weights.output, matrix(WeightPart::kOutput, 0, weights.embedding.rows, config_.embedding));
  }
  TRY_ASSIGN(weights.rope_factors, bind_rope_factors());
  TRY(check_all_used());
  count(weights);
  weights.scales = std::move(scales_);
  return weights;
}

}  // namespace

Result<ModelWeights> bind_model_weights(const ModelTensors& tensors, const ModelConfig& config) {
  return WeightBinder(tensors, config, true).bind();
}

Result<void> check_model_weights(const ModelTensors& tensors, const ModelConfig& config) {
  TRY(WeightBinder(tensors, config, false).bind());
  return {};
}

}  // namespace deepserve::runner
