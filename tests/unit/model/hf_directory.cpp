#include "tests/unit/model/hf_directory.h"

#include <fmt/format.h>

#include <algorithm>

#include "runner/model/gguf/gguf.h"
#include "runner/model/weight_names.h"

namespace deepserve::runner {
namespace {

// Hugging Face's name of GGUF's `name`.
std::string hf_name(const std::string& name, uint32_t layers) {
  for (uint32_t layer = 0; layer < layers; ++layer) {
    for (size_t part = 0; part < static_cast<size_t>(WeightPart::kCount); ++part) {
      for (const WeightSuffix suffix : {WeightSuffix::kWeight, WeightSuffix::kBias}) {
        if (weight_name(TensorNaming::kGguf, static_cast<WeightPart>(part), suffix, layer) == name)
          return weight_name(TensorNaming::kHuggingFace, static_cast<WeightPart>(part), suffix, layer);
      }
    }
  }
  ADD_FAILURE() << name;
  return name;
}

// From adjacent pairs to halves: row 2i of a head becomes row i, row 2i + 1 row i + head_dim / 2.
std::vector<uint8_t> in_halves(std::span<const uint8_t> bytes, size_t rows, size_t head_dim) {
  const size_t row_bytes = bytes.size() / rows;
  std::vector<uint8_t> result(bytes.size());
  for (size_t row = 0; row < rows; ++row) {
    const size_t head = row / head_dim, inside = row % head_dim;
    const size_t target = head * head_dim + inside % 2 * (head_dim / 2) + inside / 2;
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(row * row_bytes), row_bytes,
                result.begin() + static_cast<ptrdiff_t>(target * row_bytes));
  }
  return result;
}

}  // namespace

std::vector<NamedTensor> hf_tensors(const TinyModel& model) {
  const auto bytes = model.gguf();
  const auto file = Gguf::parse(bytes, "tiny.gguf");
  std::vector<NamedTensor> tensors;
  for (const StoredTensor& stored : file->tensors()) {
    NamedTensor& tensor = tensors.emplace_back();
    tensor.name = hf_name(stored.name, model.layers);
    tensor.type = stored.type;
    tensor.shape.assign(stored.dimensions.begin(), stored.dimensions.begin() + stored.dimension_count);
    std::reverse(tensor.shape.begin(), tensor.shape.end());
    tensor.bytes.assign(stored.bytes.begin(), stored.bytes.end());
    const bool rotated =
        stored.name.find("attn_q.") != std::string::npos || stored.name.find("attn_k.") != std::string::npos;
    if (rotated && model.architecture == "llama")
      tensor.bytes = in_halves(stored.bytes, tensor.shape.front(), model.head_dim);
  }
  return tensors;
}

std::string hf_config(const TinyModel& model) {
  const std::string name = model.architecture == "llama"   ? "LlamaForCausalLM"
                           : model.architecture == "qwen2" ? "Qwen2ForCausalLM"
                                                           : "Qwen3ForCausalLM";
  return fmt::format(
      R"({{"architectures": ["{}"], "vocab_size": {}, "hidden_size": {}, "intermediate_size": {},
 "num_hidden_layers": {}, "num_attention_heads": {}, "num_key_value_heads": {}, "head_dim": {},
 "max_position_embeddings": {}, "rms_norm_eps": 1e-5, "rope_theta": {}, "tie_word_embeddings": {},
 "attention_bias": {}, "mlp_bias": {}, "rope_scaling": {}, "eos_token_id": 2, "bos_token_id": 1}})",
      name, model.vocabulary, model.embedding, model.feed_forward, model.layers, model.heads, model.kv_heads,
      model.head_dim, model.context, model.rope_base, model.tied, model.all_biases, model.all_biases,
      model.linear_factor == 0 ? "null"
                               : fmt::format(R"({{"type": "linear", "factor": {}}})", model.linear_factor));
}

std::string hf_shard_name(size_t shard, size_t shards) {
  return fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards);
}

void write_hf(const TemporaryDirectory& directory, const TinyModel& model, size_t shards) {
  directory.write("config.json", hf_config(model));
  const auto tensors = hf_tensors(model);
  if (shards == 1) return directory.write("model.safetensors", safetensors_file(tensors));
  std::vector<std::vector<NamedTensor>> dealt(shards);
  std::string map;
  for (size_t i = 0; i < tensors.size(); ++i) {
    dealt[i % shards].push_back(tensors[i]);
    map += fmt::format(R"({}"{}": "{}")", i == 0 ? "" : ", ", tensors[i].name,
                       hf_shard_name(i % shards, shards));
  }
  for (size_t shard = 0; shard < shards; ++shard)
    directory.write(hf_shard_name(shard, shards), safetensors_file(dealt[shard]));
  directory.write("model.safetensors.index.json",
                  fmt::format(R"({{"metadata": {{"total_size": 1}}, "weight_map": {{{}}}}})", map));
}

}  // namespace deepserve::runner
