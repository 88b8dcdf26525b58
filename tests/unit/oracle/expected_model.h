// The folders of tests/oracle/models: models in both formats, and what transformers computes from them.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ipc/wire/messages.h"
#include "runner/backend/backend.h"
#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {

// Every architecture and switch.
inline constexpr const char* kExpectedModels[] = {
    "llama",
    "llama-tied-gqa",
    "llama-biases",
    "llama-head-dim",
    "llama-rope-linear",
    "llama-rope-llama3",
    "llama-rope-yarn",
    "llama-sharded",
    "llama-f16",
    "qwen2",
    "qwen2-rope-yarn",
    "qwen2-rope-yarn-betas",
    "qwen2-tied-bf16",
    "qwen3",
    "qwen3-tied-bf16",
    "qwen3-rope-yarn-exact",
};
inline constexpr uint32_t kExpectedVocabulary = 80;
inline constexpr size_t kExpectedGreedy = 64;  // tokens behind each prompt

struct ExpectedPrompt {
  std::vector<ipc::TokenId> tokens;
  std::vector<ipc::TokenId> greedy;  // what follows them
  std::vector<float> logits;         // [tokens, vocabulary]
  std::vector<float> hidden;         // [tokens, embedding], behind the final norm
};

struct ExpectedModel {
  std::filesystem::path directory;            // as Hugging Face's
  std::optional<std::filesystem::path> gguf;  // the file to open, the first where it is split
  std::vector<ExpectedPrompt> prompts;
};

// From $DEEPSERVE_ORACLE_MODELS, or where this tree was built. CHECKs that all of it is there.
ExpectedModel read_expected_model(const std::string& name);

// Of kExpectedVocabulary tokens; the models have no words.
std::unique_ptr<Tokenizer> expected_tokenizer();

struct ModelOutputs {
  std::vector<float> logits;  // [tokens, vocabulary]
  std::vector<float> hidden;  // [tokens, embedding]
};
// `tokens` in steps of `chunk`, in blocks 0, 1, 2, ... A step that fails is a failure of the test.
ModelOutputs run_model(Backend& backend, std::span<const ipc::TokenId> tokens, size_t chunk);

}  // namespace deepserve::runner
