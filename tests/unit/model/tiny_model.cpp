#include "tests/unit/model/tiny_model.h"

#include "tests/unit/kernels/random_weights.h"
#include "tests/unit/model/gguf_writer.h"

namespace deepserve::runner {
namespace {

using kernels::RandomWeights;
using kernels::WeightType;

class TinyWriter {
 public:
  explicit TinyWriter(const TinyModel& model) : model_(model), random_(model.seed) {}

  std::vector<uint8_t> write() {
    put_metadata();
    if (model_.with_vocabulary) put_vocabulary();
    matrix("token_embd.weight", model_.vocabulary, model_.embedding, 1.0f);
    for (uint32_t i = 0; i < model_.layers; ++i) put_layer("blk." + std::to_string(i) + ".");
    vector("output_norm.weight", model_.embedding, 0.5f, 1.5f);
    if (!model_.tied) matrix("output.weight", model_.vocabulary, model_.embedding, 0.5f);
    if (model_.rope_factors) {
      vector("rope_freqs.weight", (model_.rotated_dims != 0 ? model_.rotated_dims : model_.head_dim) / 2, 1,
             8);
    }
    return writer_.bytes();
  }

 private:
  void put_metadata() {
    const auto key = [&](const char* name) { return model_.architecture + "." + name; };
    writer_.put_string("general.architecture", model_.architecture);
    writer_.put_u32(key("block_count"), model_.layers);
    writer_.put_u32(key("embedding_length"), model_.embedding);
    writer_.put_u32(key("feed_forward_length"), model_.feed_forward);
    writer_.put_u32(key("context_length"), model_.context);
    writer_.put_u32(key("attention.head_count"), model_.heads);
    writer_.put_u32(key("attention.head_count_kv"), model_.kv_heads);
    writer_.put_f32(key("attention.layer_norm_rms_epsilon"), 1e-5f);
    writer_.put_f32(key("rope.freq_base"), model_.rope_base);
    if (model_.head_dim * model_.heads != model_.embedding) {
      writer_.put_u32(key("attention.key_length"), model_.head_dim);
      writer_.put_u32(key("attention.value_length"), model_.head_dim);
    }
    if (model_.rotated_dims != 0) writer_.put_u32(key("rope.dimension_count"), model_.rotated_dims);
    if (model_.linear_factor != 0) {
      writer_.put_string(key("rope.scaling.type"), "linear");
      writer_.put_f32(key("rope.scaling.factor"), model_.linear_factor);
    }
  }

  void put_vocabulary() {
    std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
    std::vector<int32_t> kinds = {2, 3, 3};
    while (tokens.size() < model_.vocabulary) {
      tokens.push_back("piece" + std::to_string(tokens.size()));
      kinds.push_back(1);
    }
    writer_.put_string("tokenizer.ggml.model", "llama");
    writer_.put_strings("tokenizer.ggml.tokens", tokens);
    writer_.put_floats("tokenizer.ggml.scores", std::vector<float>(tokens.size(), -1.0f));
    writer_.put_integers("tokenizer.ggml.token_type", kinds);
    writer_.put_u32("tokenizer.ggml.bos_token_id", 1);
    writer_.put_u32("tokenizer.ggml.eos_token_id", 2);
    writer_.put_u32("tokenizer.ggml.unknown_token_id", 0);
  }

  void put_layer(const std::string& prefix) {
    const uint32_t query = model_.heads * model_.head_dim, kv = model_.kv_heads * model_.head_dim;
    vector(prefix + "attn_norm.weight", model_.embedding, 0.5f, 1.5f);
    matrix(prefix + "attn_q.weight", query, model_.embedding, 0.5f);
    matrix(prefix + "attn_k.weight", kv, model_.embedding, 0.5f);
    matrix(prefix + "attn_v.weight", kv, model_.embedding, 0.5f);
    if (model_.architecture == "qwen2" || model_.all_biases) {
      vector(prefix + "attn_q.bias", query, -0.5f, 0.5f);
      vector(prefix + "attn_k.bias", kv, -0.5f, 0.5f);
      vector(prefix + "attn_v.bias", kv, -0.5f, 0.5f);
    }
    if (model_.architecture == "qwen3") {
      vector(prefix + "attn_q_norm.weight", model_.head_dim, 0.5f, 1.5f);
      vector(prefix + "attn_k_norm.weight", model_.head_dim, 0.5f, 1.5f);
    }
    matrix(prefix + "attn_output.weight", model_.embedding, query, 0.5f);
    if (model_.all_biases) {
      vector(prefix + "attn_output.bias", model_.embedding, -0.5f, 0.5f);
      vector(prefix + "ffn_gate.bias", model_.feed_forward, -0.5f, 0.5f);
      vector(prefix + "ffn_up.bias", model_.feed_forward, -0.5f, 0.5f);
      vector(prefix + "ffn_down.bias", model_.embedding, -0.5f, 0.5f);
    }
    vector(prefix + "ffn_norm.weight", model_.embedding, 0.5f, 1.5f);
    matrix(prefix + "ffn_gate.weight", model_.feed_forward, model_.embedding, 0.5f);
    matrix(prefix + "ffn_up.weight", model_.feed_forward, model_.embedding, 0.5f);
    matrix(prefix + "ffn_down.weight", model_.embedding, model_.feed_forward, 0.5f);
  }

  void matrix(const std::string& name, uint32_t rows, uint32_t columns, float magnitude) {
    const bool whole_blocks = columns % kernels::weight_format(model_.type).block_elements == 0;
    const WeightType type = whole_blocks ? model_.type : WeightType::kF32;
    std::vector<uint8_t> bytes;
    for (uint32_t r = 0; r < rows; ++r) {
      const auto row = random_.row(type, columns, magnitude);
      bytes.insert(bytes.end(), row.begin(), row.end());
    }
    writer_.add_tensor(name, type, {columns, rows}, bytes);
  }

  void vector(const std::string& name, uint32_t size, float min, float max) {
    std::vector<uint8_t> bytes(size * sizeof(float));
    for (uint32_t i = 0; i < size; ++i) {
      const float value = random_.uniform(min, max);
      std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
    }
    writer_.add_tensor(name, WeightType::kF32, {size}, bytes);
  }

  const TinyModel& model_;
  RandomWeights random_;
  GgufWriter writer_;
};

}  // namespace

std::vector<uint8_t> TinyModel::gguf() const {
  return TinyWriter(*this).write();
}

}  // namespace deepserve::runner
