#include "tests/unit/oracle/expected_model.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <numeric>

#include "ipc/base/check.h"
#include "runner/model/gguf/gguf.h"
#include "runner/model/mapped_file.h"

namespace deepserve::runner {
namespace {

std::vector<ipc::TokenId> token_list(const Gguf& file, const std::string& key) {
  const auto integers = file.find_integers(key);
  CHECK(integers && *integers);
  std::vector<ipc::TokenId> tokens;
  for (const int64_t integer : **integers) tokens.push_back(static_cast<ipc::TokenId>(integer));
  return tokens;
}

std::vector<float> rows(const Gguf& file, const std::string& name, size_t count) {
  const auto* tensor = file.find_tensor(name);
  CHECK(tensor != nullptr);
  CHECK(tensor->type == kernels::WeightType::kF32);
  CHECK(tensor->dimensions[1] == count);
  std::vector<float> values(tensor->elements);
  std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
  return values;
}

std::filesystem::path folder() {
  const char* elsewhere = std::getenv("DEEPSERVE_ORACLE_MODELS");
  return elsewhere != nullptr ? elsewhere : ORACLE_MODELS;
}

}  // namespace

ExpectedModel read_expected_model(const std::string& name) {
  ExpectedModel model;
  model.directory = folder() / name;
  for (const char* file : {"model.gguf", "model-00001-of-00003.gguf"}) {
    if (exists(model.directory / file)) model.gguf = model.directory / file;
  }
  const auto bytes = MappedFile::open(model.directory / "expected.gguf");
  CHECK(bytes.has_value());
  const auto file = Gguf::parse(bytes->bytes(), name);
  CHECK(file.has_value());
  for (int i = 0; file->has("prompt." + std::to_string(i) + ".tokens"); ++i) {
    const std::string prefix = "prompt." + std::to_string(i) + ".";
    ExpectedPrompt prompt;
    prompt.tokens = token_list(*file, prefix + "tokens");
    prompt.greedy = token_list(*file, prefix + "greedy");
    prompt.logits = rows(*file, prefix + "logits", prompt.tokens.size());
    prompt.hidden = rows(*file, prefix + "hidden", prompt.tokens.size());
    model.prompts.push_back(std::move(prompt));
  }
  CHECK(!model.prompts.empty());
  return model;
}

std::unique_ptr<Tokenizer> expected_tokenizer() {
  Vocabulary vocabulary;
  vocabulary.kind = TokenizerKind::kSentencePiece;
  vocabulary.tokens = {"<unk>", "<s>", "</s>"};
  vocabulary.kinds = {TokenKind::kUnknown, TokenKind::kControl, TokenKind::kControl};
  while (vocabulary.tokens.size() < kExpectedVocabulary) {
    vocabulary.tokens.push_back("piece" + std::to_string(vocabulary.tokens.size()));
    vocabulary.kinds.push_back(TokenKind::kNormal);
  }
  vocabulary.scores.assign(kExpectedVocabulary, -1.0f);
  vocabulary.bos = 1;
  vocabulary.eos = 2;
  vocabulary.unknown = 0;
  return Tokenizer::make(std::move(vocabulary)).value();
}

ModelOutputs run_model(Backend& backend, std::span<const ipc::TokenId> tokens, size_t chunk) {
  const BackendInfo& info = backend.info();
  std::vector<BlockId> blocks(tokens.size() / info.block_tokens + 1);
  std::iota(blocks.begin(), blocks.end(), BlockId{0});
  ModelOutputs all;
  for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
    const size_t count = std::min(chunk, tokens.size() - begin);
    BatchEntry entry;
    entry.tokens = tokens.subspan(begin, count);
    entry.position = static_cast<uint32_t>(begin);
    entry.blocks = std::span(blocks).first((begin + count + info.block_tokens - 1) / info.block_tokens);
    entry.logits_rows = static_cast<uint32_t>(count);
    entry.hidden_rows = true;
    ModelOutputs step{std::vector<float>(count * info.vocabulary),
                      std::vector<float>(count * info.embedding)};
    const auto done = backend.step({&entry, 1}, {step.logits, step.hidden});
    EXPECT_TRUE(done) << done.error().message;
    all.logits.insert(all.logits.end(), step.logits.begin(), step.logits.end());
    all.hidden.insert(all.hidden.end(), step.hidden.begin(), step.hidden.end());
  }
  return all;
}

}  // namespace deepserve::runner
