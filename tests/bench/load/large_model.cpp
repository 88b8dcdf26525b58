#include "tests/bench/load/large_model.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "ipc/base/fd.h"

namespace deepserve::bench {
namespace {

constexpr uint32_t kWidth = 1'024, kFeedForward = 4'096, kVocabulary = 4'096, kHeads = 16;
constexpr size_t kPieceWords = 1u << 17;

struct Tensor {
  std::string name;
  std::vector<uint64_t> shape;
  uint64_t bytes() const {
    uint64_t bytes = 2;
    for (const uint64_t size : shape) bytes *= size;
    return bytes;
  }
};

std::vector<Tensor> layer_tensors(uint32_t layer) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  std::vector<Tensor> tensors;
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
    tensors.push_back({prefix + "self_attn." + name + ".weight", {kWidth, kWidth}});
  for (const char* name : {"gate_proj", "up_proj"})
    tensors.push_back({prefix + "mlp." + name + ".weight", {kFeedForward, kWidth}});
  tensors.push_back({prefix + "mlp.down_proj.weight", {kWidth, kFeedForward}});
  for (const char* name : {"input_layernorm", "post_attention_layernorm"})
    tensors.push_back({prefix + name + ".weight", {kWidth}});
  return tensors;
}

uint64_t bytes_of(const std::vector<Tensor>& tensors) {
  uint64_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.bytes();
  return bytes;
}

std::string header_of(const std::vector<Tensor>& tensors) {
  std::string header = "{";
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    std::string shape;
    for (const uint64_t size : tensor.shape) shape += fmt::format("{}{}", shape.empty() ? "" : ",", size);
    header += fmt::format(R"({}"{}":{{"dtype":"BF16","shape":[{}],"data_offsets":[{},{}]}})",
                          offset == 0 ? "" : ",", tensor.name, shape, offset, offset + tensor.bytes());
    offset += tensor.bytes();
  }
  return header + "}";
}

bool write_all(const Fd& file, const void* data, size_t bytes) {
  const auto* rest = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = write(file.get(), rest, bytes);
    if (written <= 0) return false;
    rest += written;
    bytes -= static_cast<size_t>(written);
  }
  return true;
}

// Numbers of either sign from 2^-7 to 2^-6: the middle bits of each are those of 120, the exponent.
bool write_random_numbers(const Fd& file, uint64_t bytes) {
  uint64_t state = 0x9e3779b97f4a7c15;
  std::vector<uint64_t> piece(kPieceWords);
  while (bytes > 0) {
    for (uint64_t& word : piece) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      word = (state & 0x807f807f807f807f) | 0x3c003c003c003c00;
    }
    const uint64_t count = std::min<uint64_t>(bytes, piece.size() * sizeof(uint64_t));
    if (!write_all(file, piece.data(), count)) return false;
    bytes -= count;
  }
  return true;
}

}  // namespace

bool write_large_model(const std::filesystem::path& directory, uint64_t size_bytes) {
  std::vector<Tensor> tensors = {{"model.embed_tokens.weight", {kVocabulary, kWidth}},
                                 {"model.norm.weight", {kWidth}}};
  uint32_t layers = 0;
  while (layers == 0 || bytes_of(tensors) + bytes_of(layer_tensors(0)) / 2 < size_bytes) {
    const auto more = layer_tensors(layers++);
    tensors.insert(tensors.end(), more.begin(), more.end());
  }
  std::ofstream(directory / "config.json") << fmt::format(
      R"({{"architectures": ["LlamaForCausalLM"], "hidden_size": {}, "intermediate_size": {},
 "num_hidden_layers": {}, "num_attention_heads": {}, "num_key_value_heads": {}, "vocab_size": {},
 "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": true}})",
      kWidth, kFeedForward, layers, kHeads, kHeads, kVocabulary);
  const Fd file(
      open((directory / "model.safetensors").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const std::string header = header_of(tensors);
  const uint64_t header_bytes = header.size();
  return file && write_all(file, &header_bytes, sizeof header_bytes) &&
         write_all(file, header.data(), header.size()) && write_random_numbers(file, bytes_of(tensors)) &&
         fsync(file.get()) == 0;
}

}  // namespace deepserve::bench
