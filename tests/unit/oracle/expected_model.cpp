#include "tests/unit/oracle/expected_model.h"

#include <cstring>

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

}  // namespace

ExpectedModel read_expected_model(const std::string& name) {
  ExpectedModel model;
  model.directory = std::filesystem::path(ORACLE_MODELS) / name;
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

}  // namespace deepserve::runner
