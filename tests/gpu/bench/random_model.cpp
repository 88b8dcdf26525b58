#include "tests/gpu/bench/random_model.h"

#include <algorithm>

namespace deepserve::runner {
namespace {

using kernels::Matrix;

constexpr uint32_t kBytes = 2;  // of a weight

ModelConfig config_of(const ModelShape& shape) {
  ModelConfig config;
  config.architecture = Architecture::kQwen2;
  config.layers = shape.layers;
  config.embedding = shape.embedding;
  config.vocabulary = shape.vocabulary;
  config.feed_forward = shape.feed_forward;
  config.heads = shape.heads;
  config.kv_heads = shape.kv_heads;
  config.head_dim = shape.head_dim;
  config.rotated_dims = shape.head_dim;
  config.context_tokens = 32'768;
  config.rms_epsilon = 1e-6f;
  config.rope_base = 1e6;
  return config;
}

}  // namespace

std::vector<uint8_t> random_weight_bytes(const ModelShape& shape) {
  const uint64_t rows = std::max(shape.vocabulary, shape.feed_forward);
  const uint64_t widest = std::max(shape.feed_forward, shape.embedding);
  const uint64_t elements = std::max(rows * shape.embedding, widest * shape.embedding);
  std::vector<uint8_t> bytes(kBytes * (elements + 1));
  uint64_t state = 1;
  for (size_t i = 0; i + 1 < bytes.size(); i += kBytes) {
    state = state * 6364136223846793005 + 1442695040888963407;
    bytes[i] = static_cast<uint8_t>(state >> 40);
    // Between 2^-7 and 2^-5, of either sign: what is multiplied keeps its size through all layers.
    bytes[i + 1] = static_cast<uint8_t>((state >> 56 & 0x80) | 0x3c);
  }
  return bytes;
}

BackendModel random_model(const ModelShape& shape, const std::vector<uint8_t>& bytes) {
  BackendModel model;
  model.config = config_of(shape);
  const auto matrix = [&](uint64_t rows, uint64_t columns) {
    model.weights.parameters += rows * columns;
    return Matrix{bytes.data(), kernels::WeightType::kBF16, rows, columns, columns * kBytes};
  };
  const uint64_t query = uint64_t{shape.heads} * shape.head_dim,
                 kv = uint64_t{shape.kv_heads} * shape.head_dim;
  for (uint32_t i = 0; i < shape.layers; ++i) {
    LayerWeights layer;
    layer.attention_norm.assign(shape.embedding, 1.0f);
    layer.query = matrix(query, shape.embedding);
    layer.key = matrix(kv, shape.embedding);
    layer.value = matrix(kv, shape.embedding);
    layer.query_bias.assign(query, 0.0f);
    layer.key_bias.assign(kv, 0.0f);
    layer.value_bias.assign(kv, 0.0f);
    layer.attention_output = matrix(shape.embedding, query);
    layer.feed_forward_norm.assign(shape.embedding, 1.0f);
    layer.gate = matrix(shape.feed_forward, shape.embedding);
    layer.up = matrix(shape.feed_forward, shape.embedding);
    layer.down = matrix(shape.embedding, shape.feed_forward);
    model.weights.layers.push_back(std::move(layer));
  }
  model.weights.embedding = matrix(shape.vocabulary, shape.embedding);
  model.weights.output = matrix(shape.vocabulary, shape.embedding);
  model.weights.output.data += kBytes;  // another matrix than the embedding
  model.weights.output_norm.assign(shape.embedding, 1.0f);
  model.weights.main_type = kernels::WeightType::kBF16;
  model.weights.size_bytes = model.weights.parameters * kBytes;
  return model;
}

}  // namespace deepserve::runner
