#include "runner/model/huggingface/hf_model.h"

#include <spdlog/spdlog.h>

#include <future>

#include "runner/model/content_hash.h"
#include "runner/model/huggingface/hf_config.h"
#include "runner/model/huggingface/hf_vocabulary.h"
#include "runner/model/huggingface/safetensors.h"
#include "runner/model/huggingface/safetensors_index.h"
#include "runner/model/text_file.h"

namespace deepserve::runner {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kConfigBytesMax = 1u << 20;
constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

Result<void> open_file(const fs::path& path, ModelFiles& files, ModelTensors& tensors) {
  TRY(files.open(path));
  TRY_ASSIGN(const auto stored, parse_safetensors(files.last().bytes(), path.string()));
  return tensors.add_file(path.string(), stored);
}

// Every tensor of a shard is where the index says it is.
Result<void> check_shard(const ModelTensors& tensors, size_t first, const fs::path& index_path,
                         const SafetensorsIndex& index, size_t shard) {
  for (const StoredTensor& tensor : tensors.all().subspan(first)) {
    const auto entry = index.tensors.find(tensor.name);
    if (entry == index.tensors.end()) {
      return tensors.bad(tensor, fmt::format("{} does not name it", index_path.string()));
    }
    if (entry->second != shard) {
      return tensors.bad(tensor, fmt::format("{} says it is in {}", index_path.string(),
                                             printable(index.files[entry->second])));
    }
  }
  return {};
}

Result<void> open_shards(const fs::path& index_path, ModelFiles& files, ModelTensors& tensors) {
  TRY_ASSIGN(const std::string text, read_text_file(index_path, SafetensorsIndex::kTextBytesMax));
  TRY_ASSIGN(const SafetensorsIndex index, parse_safetensors_index(text, index_path.string()));
  for (size_t shard = 0; shard < index.files.size(); ++shard) {
    const fs::path path = index_path.parent_path() / index.files[shard];
    if (!is_there(path)) {
      return fail(Code::kBadModelFile, "{}: the shard {} is not there", index_path.string(),
                  printable(index.files[shard]));
    }
    const size_t first = tensors.all().size();
    TRY(open_file(path, files, tensors));
    TRY(check_shard(tensors, first, index_path, index, shard));
  }
  for (const auto& [name, shard] : index.tensors) {
    if (tensors.find(name) != nullptr) continue;
    return fail(Code::kBadModelFile, "{}: tensor \"{}\" is not in {}", index_path.string(), printable(name),
                printable(index.files[shard]));
  }
  return {};
}

Result<void> open_weights(const fs::path& directory, ModelFiles& files, ModelTensors& tensors) {
  if (is_there(directory / kSingleFile)) return open_file(directory / kSingleFile, files, tensors);
  if (is_there(directory / kIndexFile)) return open_shards(directory / kIndexFile, files, tensors);
  if (is_there(directory / "pytorch_model.bin") || is_there(directory / "pytorch_model.bin.index.json")) {
    return fail(Code::kNotSupported, "{}: weights in pytorch_model.bin are not supported (safetensors are)",
                directory.string());
  }
  return fail(Code::kBadModelFile, "{}: there is neither {} nor {}", directory.string(), kSingleFile,
              kIndexFile);
}

// What generation_config.json says of special tokens, and where it says nothing, config.json.
Result<void> add_special_tokens(const fs::path& directory, const std::string& config_text,
                                Vocabulary& vocabulary) {
  const fs::path config_path = directory / "config.json", path = directory / "generation_config.json";
  TRY_ASSIGN(HfSpecialTokens tokens, read_hf_special_tokens(config_text, config_path.string()));
  TRY_ASSIGN(const auto text, read_text_file_if_there(path, kConfigBytesMax));
  if (text) {
    TRY_ASSIGN(HfSpecialTokens preferred, read_hf_special_tokens(*text, path.string()));
    if (preferred.bos) tokens.bos = preferred.bos;
    if (!preferred.ends.empty()) tokens.ends = std::move(preferred.ends);
  }
  if (!vocabulary.bos) vocabulary.bos = tokens.bos;
  if (!vocabulary.eos && !tokens.ends.empty()) vocabulary.eos = tokens.ends.front();
  vocabulary.end_tokens = std::move(tokens.ends);
  return {};
}

// Fine-tunes often add a "[PAD]" without a row of its own, which nothing but their training used: no text
// becomes such tokens, and no merge.
Result<void> drop_tokens_without_rows(const fs::path& directory, uint64_t rows, Vocabulary& vocabulary) {
  std::vector<bool> droppable(vocabulary.tokens.size());
  for (const AddedToken& token : vocabulary.added_tokens) droppable[token.id] = true;
  for (const TokenMerge& merge : vocabulary.token_merges)
    droppable[merge.left] = droppable[merge.right] = droppable[merge.merged] = false;
  for (uint64_t token = rows; token < vocabulary.tokens.size(); ++token) {
    if (droppable[token] || vocabulary.kinds[token] == TokenKind::kUnused) continue;
    return fail(Code::kBadModelFile, "{}: the tokenizer has {} tokens, the embedding {} rows",
                directory.string(), vocabulary.tokens.size(), rows);
  }
  spdlog::warn("{}: the added tokens from {} (\"{}\") to {} are left out, the embedding has {} rows",
               directory.string(), rows, printable(vocabulary.tokens[rows]), vocabulary.tokens.size() - 1,
               rows);
  std::erase_if(vocabulary.added_tokens, [rows](const AddedToken& token) { return token.id >= rows; });
  vocabulary.tokens.resize(rows);
  vocabulary.kinds.resize(rows);
  if (vocabulary.kind == TokenizerKind::kSentencePiece) vocabulary.scores.resize(rows);
  return {};
}

// Embeddings often have more rows than the tokeniser has tokens: rounded up to what matrices like.
Result<void> pad_vocabulary(const fs::path& directory, uint64_t rows, Vocabulary& vocabulary) {
  if (vocabulary.tokens.size() > rows) return drop_tokens_without_rows(directory, rows, vocabulary);
  while (vocabulary.tokens.size() < rows) {
    vocabulary.tokens.push_back(fmt::format("[PAD{}]", vocabulary.tokens.size()));
    vocabulary.kinds.push_back(TokenKind::kUnused);
    if (vocabulary.kind == TokenizerKind::kSentencePiece) vocabulary.scores.push_back(0);
  }
  return {};
}

Result<Vocabulary> make_vocabulary(const fs::path& directory, const std::string& config_text, uint64_t rows) {
  TRY_ASSIGN(Vocabulary vocabulary, read_hf_vocabulary(directory));
  TRY(add_special_tokens(directory, config_text, vocabulary));
  TRY(pad_vocabulary(directory, rows, vocabulary));
  return vocabulary;
}

uint64_t hash_of(const std::string& text) {
  ContentHash hash;
  hash.add({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  return hash.value();
}

}  // namespace

Result<OpenedModel> open_hf_model(const fs::path& directory) {
  const fs::path config_path = directory / "config.json";
  if (!is_there(config_path)) {
    return fail(Code::kBadModelFile, "{}: there is no config.json (for a GGUF model, name the file)",
                directory.string());
  }
  TRY_ASSIGN(const std::string config_text, read_text_file(config_path, kConfigBytesMax));
  TRY_ASSIGN(const ModelConfig config, read_hf_config(config_text, config_path.string()));
  ModelFiles files;
  ModelTensors tensors(directory.string(), TensorNaming::kHuggingFace);
  TRY(open_weights(directory, files, tensors));
  const uint64_t config_hash = hash_of(config_text);
  auto vocabulary =
      std::async(std::launch::async, make_vocabulary, directory, config_text, config.vocabulary);
  return OpenedModel{std::move(files), std::move(tensors), config, config_hash, std::move(vocabulary)};
}

}  // namespace deepserve::runner
