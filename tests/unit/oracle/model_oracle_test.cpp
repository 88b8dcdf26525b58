// Every architecture and switch computes what transformers computes (tests/oracle/models.py), from the
// Hugging Face directory and from the GGUF file of the same weights, on every instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu/kernels.h"
#include "runner/model/loaded_model.h"
#include "tests/unit/engine/fakes.h"
#include "tests/unit/oracle/expected_model.h"

namespace deepserve::runner {
namespace {

// At each position: the largest difference over the largest magnitude. Sums in another order alone make about
// 1e-6; a wrong rope, norm or bias more than 1e-2.
constexpr double kTolerance = 1e-4;

// Compares [positions, width]; returns the largest relative difference of a position.
double expect_close(std::span<const float> actual, std::span<const float> expected, size_t positions) {
  EXPECT_EQ(actual.size(), expected.size());
  if (actual.size() != expected.size()) return INFINITY;
  const size_t width = expected.size() / positions;
  double worst = 0;
  for (size_t position = 0; position < positions; ++position) {
    double difference = 0, magnitude = 0;
    for (size_t i = position * width; i < (position + 1) * width; ++i) {
      difference = std::max(difference, std::abs(double{actual[i]} - double{expected[i]}));
      magnitude = std::max(magnitude, std::abs(double{expected[i]}));
      if (std::isnan(actual[i])) difference = INFINITY;
    }
    EXPECT_LE(difference, kTolerance * magnitude) << "position " << position << " of " << positions;
    worst = std::max(worst, difference / magnitude);
  }
  return worst;
}

class ModelOracle : public ::testing::TestWithParam<const char*> {
 protected:
  // Calls `compare(backend, prompts)` for each way to load the model and each instruction set.
  template <typename Compare>
  void for_each_backend(Compare compare) {
    const ExpectedModel model = read_expected_model(GetParam());
    std::vector<std::filesystem::path> paths = {model.directory};
    if (model.gguf) paths.push_back(*model.gguf);
    for (const auto& path : paths) {
      for (const char* isa : {"scalar", "avx2", "avx512"}) {
        if (kernels::find_kernels(isa) == nullptr) continue;
        SCOPED_TRACE(::testing::Message() << path.filename() << ", " << isa);
        BackendOptions options;
        options.isa = isa;
        const auto loaded = load_model(path, options);
        ASSERT_TRUE(loaded) << loaded.error().message;
        ASSERT_EQ(loaded->backend->info().vocabulary, kExpectedVocabulary);
        compare(*loaded->backend, model.prompts);
      }
    }
  }
};

TEST_P(ModelOracle, LogitsAndHiddenStatesAtEveryPositionAreThoseOfTransformers) {
  double worst_logits = 0, worst_hidden = 0;
  for_each_backend([&](Backend& backend, std::span<const ExpectedPrompt> prompts) {
    for (const ExpectedPrompt& prompt : prompts) {
      for (const size_t chunk : {prompt.tokens.size(), size_t{1}, size_t{13}}) {
        const ModelOutputs outputs = run_model(backend, prompt.tokens, chunk);
        worst_logits =
            std::max(worst_logits, expect_close(outputs.logits, prompt.logits, prompt.tokens.size()));
        worst_hidden =
            std::max(worst_hidden, expect_close(outputs.hidden, prompt.hidden, prompt.tokens.size()));
      }
    }
  });
  std::printf("largest relative difference: logits %.1e, hidden states %.1e\n", worst_logits, worst_hidden);
}

TEST_P(ModelOracle, GreedyTokensOfTheEngineAreThoseOfTransformers) {
  const auto tokenizer = expected_tokenizer();
  for_each_backend([&](Backend& backend, std::span<const ExpectedPrompt> prompts) {
    testing::RecordingSink sink;
    const auto engine = Engine::make(backend, *tokenizer, testing::kNoChat, {}, sink);
    ASSERT_TRUE(engine) << engine.error().message;
    for (size_t i = 0; i < prompts.size(); ++i) {
      auto request = testing::token_request(i, prompts[i].tokens, kExpectedGreedy);
      request.generation.ignore_eos = true;
      (*engine)->submit(request);
    }
    while ((*engine)->has_work()) ASSERT_TRUE((*engine)->step());
    for (size_t i = 0; i < prompts.size(); ++i) {
      ASSERT_EQ(prompts[i].greedy.size(), kExpectedGreedy);
      ASSERT_TRUE(sink[i].finished) << sink[i].failure.message;
      EXPECT_EQ(sink[i].choices.at(0).tokens, prompts[i].greedy) << "prompt " << i;
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Models, ModelOracle, ::testing::ValuesIn(kExpectedModels), [](const auto& given) {
  std::string name = given.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace deepserve::runner
