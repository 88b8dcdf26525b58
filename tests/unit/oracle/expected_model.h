// A folder of tests/oracle/models: a model in both formats, and what transformers computes from it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ipc/wire/messages.h"

namespace deepserve::runner {

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

// CHECKs that all of it is there.
ExpectedModel read_expected_model(const std::string& name);

}  // namespace deepserve::runner
