// The model that comes with the source, held against what PyTorch computed from the same file
// (tests/oracle/tiny_expected.json, made by etc/models/tiny/expected.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <fstream>
#include <numeric>
#include <sstream>

#include "kernels/cpu/kernels.h"
#include "runner/model/loaded_model.h"
#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {
namespace {

using boost::json::value;

const value& expected() {
  static const value parsed = [] {
    std::ifstream file(BUILTIN_MODEL_EXPECTED);
    std::stringstream text;
    text << file.rdbuf();
    return boost::json::parse(text.str());
  }();
  return parsed;
}

std::vector<TokenId> ids_of(const value& list) {
  std::vector<TokenId> ids;
  for (const auto& id : list.as_array()) ids.push_back(id.to_number<TokenId>());
  return ids;
}

class BuiltinModel : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (kernels::find_kernels(GetParam()) == nullptr) {
      GTEST_SKIP() << "this processor lacks " << GetParam();
    }
    load(true);
  }

  void load(bool rounds_inputs) {
    BackendOptions options;
    options.isa = GetParam();
    options.rounds_inputs = rounds_inputs;
    auto loaded = load_model(BUILTIN_MODEL, options);
    ASSERT_TRUE(loaded) << loaded.error().message;
    model_ = std::move(*loaded);
    blocks_.resize(model_.backend->info().blocks);
    std::iota(blocks_.begin(), blocks_.end(), 0);
  }

  // Logits of every one of `tokens`: [tokens, vocabulary].
  std::vector<float> run(std::span<const TokenId> tokens, uint32_t position) {
    const auto& info = model_.backend->info();
    const uint32_t last = position + static_cast<uint32_t>(tokens.size());
    const uint32_t blocks = (last + info.block_tokens - 1) / info.block_tokens;
    const BatchEntry entry{tokens, position, std::span(blocks_).first(blocks),
                           static_cast<uint32_t>(tokens.size())};
    std::vector<float> logits(tokens.size() * info.vocabulary);
    EXPECT_TRUE(model_.backend->step({&entry, 1}, {logits, {}}));
    return logits;
  }

  LoadedModel model_;
  std::vector<BlockId> blocks_;
};

TEST_P(BuiltinModel, LogitsAtEveryPositionOfAPromptAreThoseOfPyTorch) {
  load(false);  // PyTorch's inputs are float32
  const size_t vocabulary = model_.backend->info().vocabulary;
  for (const auto& prompt : expected().at("prompts").as_array()) {
    const auto ids = ids_of(prompt.at("ids"));
    const auto logits = run(ids, 0);
    for (size_t position = 0; position < ids.size(); ++position) {
      for (const auto& pair : prompt.at("top").at(position).as_array()) {
        const double wanted = pair.at(1).to_number<double>();
        const double got = logits[position * vocabulary + pair.at(0).to_number<TokenId>()];
        EXPECT_NEAR(got, wanted, 1e-3 * std::max(1.0, std::abs(wanted)))
            << prompt.at("name") << " position " << position;
      }
    }
  }
}

TEST_P(BuiltinModel, RoundedInputsMoveLogitsByLessThanHalfAPercentInTheMean) {
  const size_t vocabulary = model_.backend->info().vocabulary;
  double sum = 0, worst = 0, count = 0;
  for (const auto& prompt : expected().at("prompts").as_array()) {
    const auto ids = ids_of(prompt.at("ids"));
    const auto logits = run(ids, 0);
    for (size_t position = 0; position < ids.size(); ++position) {
      for (const auto& pair : prompt.at("top").at(position).as_array()) {
        const double wanted = pair.at(1).to_number<double>();
        const double got = logits[position * vocabulary + pair.at(0).to_number<TokenId>()];
        const double apart = std::abs(got - wanted) / std::max(1.0, std::abs(wanted));
        sum += apart;
        worst = std::max(worst, apart);
        count += 1;
      }
    }
  }
  RecordProperty("mean", std::to_string(sum / count));
  RecordProperty("worst", std::to_string(worst));
  EXPECT_LE(sum / count, 0.005) << "worst " << worst;
}

TEST_P(BuiltinModel, GreedyTokensAreThoseOfPyTorch) {
  load(false);  // of some, two logits are nearer to each other than rounded inputs leave them
  const auto vocabulary = static_cast<std::ptrdiff_t>(model_.backend->info().vocabulary);
  for (const auto& prompt : expected().at("prompts").as_array()) {
    const auto ids = ids_of(prompt.at("ids"));
    const auto wanted = ids_of(prompt.at("greedy"));
    std::vector<TokenId> got;
    auto logits = run(ids, 0);
    while (got.size() < wanted.size()) {
      const auto row = logits.end() - vocabulary;
      got.push_back(static_cast<TokenId>(std::max_element(row, logits.end()) - row));
      logits = run({&got.back(), 1}, static_cast<uint32_t>(ids.size() + got.size() - 1));
    }
    EXPECT_EQ(got, wanted) << prompt.at("name");
  }
}

INSTANTIATE_TEST_SUITE_P(OnEachInstructionSet, BuiltinModel, ::testing::Values("scalar", "avx2", "avx512"),
                         [](const auto& given) { return std::string(given.param); });

TEST(BuiltinVocabulary, EncodesAsTheTokenizersLibraryDoes) {
  auto loaded = load_model(BUILTIN_MODEL, {});
  ASSERT_TRUE(loaded) << loaded.error().message;
  ASSERT_TRUE(loaded->vocabulary);
  const auto tokenizer = Tokenizer::make(std::move(*loaded->vocabulary));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  for (const auto& sample : expected().at("encodings").as_array()) {
    const std::string_view text = sample.at("text").as_string();
    EXPECT_EQ((*tokenizer)->encode(text, Tokenizer::Specials::kParse), ids_of(sample.at("ids"))) << text;
  }
}

}  // namespace
}  // namespace deepserve::runner
