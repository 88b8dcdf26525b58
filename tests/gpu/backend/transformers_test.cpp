// What transformers computes (tests/oracle/models.py) on the GPU, or its emulator: every architecture and
// switch, but for the rounding of weights and inputs to bf16 that it is made for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>

#include "tests/gpu/backend/gpu_model.h"
#include "tests/unit/model/temporary_directory.h"
#include "tests/unit/oracle/expected_model.h"

namespace deepserve::runner {
namespace {

float rounded_to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
}

// A copy of a model in float32 whose weights are rounded to bf16. Nothing: it has others.
std::unique_ptr<TemporaryDirectory> with_rounded_weights(const std::filesystem::path& model) {
  auto copy = std::make_unique<TemporaryDirectory>();
  for (const auto& entry : std::filesystem::directory_iterator(model)) {
    const auto to = copy->path() / entry.path().filename();
    std::filesystem::copy_file(entry.path(), to);
    if (to.extension() != ".safetensors") continue;
    std::fstream file(to, std::ios::in | std::ios::out | std::ios::binary);
    uint64_t header_bytes = 0;
    file.read(reinterpret_cast<char*>(&header_bytes), sizeof header_bytes);
    std::string header(header_bytes, 0);
    file.read(header.data(), static_cast<std::streamsize>(header_bytes));
    if (header.find("F16") != std::string::npos) return nullptr;  // BF16 too
    const auto data_at = file.tellg();
    std::vector<float> weights((std::filesystem::file_size(to) - static_cast<uint64_t>(data_at)) /
                               sizeof(float));
    const auto bytes = static_cast<std::streamsize>(weights.size() * sizeof(float));
    file.read(reinterpret_cast<char*>(weights.data()), bytes);
    for (float& weight : weights) weight = rounded_to_bfloat16(weight);
    file.seekp(data_at);
    file.write(reinterpret_cast<const char*>(weights.data()), bytes);
  }
  return copy;
}

// Heads of 12 dimensions, which no published model has.
constexpr std::string_view kOfOddHeads[] = {"llama-head-dim", "qwen3"};

TEST(TransformersOfOddHeads, AreRefusedByName) {
  for (const std::string_view name : kOfOddHeads) {
    const auto loaded = load_model(read_expected_model(std::string(name)).directory, gpu_options());
    ASSERT_FALSE(loaded) << name;
    EXPECT_EQ(loaded.error().code, Code::kNotSupported);
    EXPECT_THAT(loaded.error().message, testing::HasSubstr("heads of 12 dimensions"));
  }
}

std::vector<const char*> other_models() {
  std::vector<const char*> models(std::begin(kExpectedModels), std::end(kExpectedModels));
  std::erase_if(models, [](const char* name) { return std::ranges::count(kOfOddHeads, name) > 0; });
  return models;
}

class Transformers : public testing::TestWithParam<const char*> {
 protected:
  // What rounding the weights alone does (of norms and biases too, which a GPU keeps), of each prompt;
  // kErrorMax where they are not rounded. Inputs, which are rounded as much, may double it.
  std::vector<double> errors_max_of_prompts() const {
    const auto rounded = with_rounded_weights(model_.directory);
    if (rounded == nullptr) return std::vector<double>(model_.prompts.size(), kErrorMax);
    const auto cpu = load_backend(rounded->path(), exact_options());
    std::vector<double> errors;
    for (const ExpectedPrompt& prompt : model_.prompts) {
      const ModelOutputs outputs = run_model(*cpu, prompt.tokens, prompt.tokens.size());
      errors.push_back(2 * relative_error(outputs.logits, prompt.logits));
    }
    return errors;
  }

  const ExpectedModel model_ = read_expected_model(GetParam());
};

TEST_P(Transformers, LogitsAndHiddenStatesAreTheirsButForRounding) {
  const auto gpu = load_backend(model_.directory, gpu_options());
  ASSERT_NE(gpu, nullptr);
  const auto errors_max = errors_max_of_prompts();
  for (size_t i = 0; i < model_.prompts.size(); ++i) {
    const ExpectedPrompt& prompt = model_.prompts[i];
    const ModelOutputs outputs = run_model(*gpu, prompt.tokens, prompt.tokens.size());
    // Token by token too, which is other kernels, and graphs from the second one on.
    EXPECT_EQ(run_model(*gpu, prompt.tokens, 1).logits, outputs.logits);
    const double error = relative_error(outputs.logits, prompt.logits);
    std::printf("%zu tokens: error of the logits %.4f, may be %.4f\n", prompt.tokens.size(), error,
                errors_max[i]);
    EXPECT_LT(error, errors_max[i]);
    EXPECT_LT(relative_error(outputs.hidden, prompt.hidden), errors_max[i]);
  }
}

// Of one row of logits.
TokenId likeliest(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Each of the tokens that transformers generates, behind those before it. Where another is likelier on the
// GPU, the exact logits of both have to be nearer to each other than rounding moves them.
TEST_P(Transformers, GreedyTokensAreTheirsWhereTheMarginIsMoreThanRounding) {
  const auto gpu = load_backend(model_.directory, gpu_options()),
             cpu = load_backend(model_.directory, exact_options());
  ASSERT_TRUE(gpu != nullptr && cpu != nullptr);
  size_t others = 0, all = 0;
  double largest_margin = 0;
  for (const ExpectedPrompt& prompt : model_.prompts) {
    auto tokens = prompt.tokens;
    tokens.insert(tokens.end(), prompt.greedy.begin(), prompt.greedy.end() - 1);
    const auto ours = run_model(*gpu, tokens, tokens.size()), exact = run_model(*cpu, tokens, tokens.size());
    for (size_t i = 0; i < kExpectedGreedy; ++i, ++all) {
      const size_t row = (prompt.tokens.size() - 1 + i) * kExpectedVocabulary;
      const auto logits = std::span(exact.logits).subspan(row, kExpectedVocabulary);
      const TokenId token = likeliest(std::span(ours.logits).subspan(row, kExpectedVocabulary));
      if (token == prompt.greedy[i]) continue;
      const auto [least, most] = std::minmax_element(logits.begin(), logits.end());
      const double margin = (*most - logits[token]) / std::max(std::abs(*least), std::abs(*most));
      EXPECT_LT(margin, 2 * kErrorMax) << "token " << i;
      largest_margin = std::max(largest_margin, margin);
      ++others;
    }
  }
  EXPECT_LT(others, all / 20);
  std::printf("%zu of %zu greedy tokens are others; their margins are at most %.2f %% of the largest logit\n",
              others, all, 100 * largest_margin);
}

INSTANTIATE_TEST_SUITE_P(Models, Transformers, testing::ValuesIn(other_models()), [](const auto& given) {
  std::string name = given.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace deepserve::runner
