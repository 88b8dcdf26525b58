// Tokens that the GPU's backend draws by itself, beside those that the engine's sampler draws from its
// logits.
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "runner/engine/engine.h"
#include "runner/engine/sampler.h"
#include "tests/gpu/backend/gpu_engine.h"
#include "tests/gpu/backend/gpu_model.h"
#include "tests/unit/engine/same_logprobs.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

TinyModel model_of(uint32_t vocabulary) {
  return {.seed = 31,
          .type = kernels::WeightType::kBF16,
          .vocabulary = vocabulary,
          .embedding = 64,
          .feed_forward = 96,
          .head_dim = 16};
}

LoadedModel load(const TemporaryFile& file) {
  return load_model(file.path(), gpu_options()).value();
}

// Tells the engine that the backend does not draw, so that its logits are wanted.
class TellingBackend final : public Backend {
 public:
  explicit TellingBackend(Backend& inner) : inner_(inner), info_(inner.info()) { info_.draws = false; }
  const BackendInfo& info() const override { return info_; }
  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    for (const BatchEntry& entry : batch) EXPECT_TRUE(entry.draws.empty());
    return inner_.step(batch, outputs);
  }
  void copy_block(BlockId from, BlockId to) override { inner_.copy_block(from, to); }

 private:
  Backend& inner_;
  BackendInfo info_;
};

// 300 sequences of one token each: more rows than there is memory for logits at a time.
struct ManyRows {
  static constexpr size_t kRows = 300;
  static constexpr uint32_t kVocabulary = 300;

  ManyRows() {
    std::mt19937 random(5);
    for (size_t i = 0; i < kRows; ++i) {
      tokens[i] = random() % kVocabulary;
      blocks[i] = static_cast<BlockId>(i);
      ipc::Generation& generation = generations[i];
      generation.seed = random();
      generation.temperature = i % 5 == 0 ? 0.0f : 0.1f + 0.005f * static_cast<float>(i);
      if (i % 3 == 0) generation.top_k = 1 + static_cast<uint32_t>(i);
      if (i % 4 == 0) generation.top_p = 0.8f;
      if (i % 7 == 0) generation.logit_bias = {{3, 2.5f}, {4, -1.0f}, {299, 3.0f}};
      if (i % 2 == 0) generation.logprobs = static_cast<uint8_t>(i % 21);
      if (i % 6 == 0) generation.repetition_penalty = 1.5f;
      draws[i] = {.generation = &generation,
                  .index = static_cast<uint32_t>(i),
                  .choices = std::span(choices).first(1 + i % 3),
                  .counts = i % 6 == 0 ? std::span<const TokenCount>(counts) : std::span<const TokenCount>(),
                  .masked = i % 10 == 1 ? std::span<const TokenId>(masked) : std::span<const TokenId>(),
                  .allowed = i % 8 == 3 ? std::span<const uint64_t>(allowed) : std::span<const uint64_t>()};
    }
  }
  // Every ninth row's logits are wanted all the same.
  static bool told(size_t row) { return row % 9 == 4; }
  std::vector<BatchEntry> batch(bool draw) const {
    std::vector<BatchEntry> entries;
    for (size_t i = 0; i < kRows; ++i) {
      entries.push_back({.tokens = {&tokens[i], 1}, .blocks = {&blocks[i], 1}, .logits_rows = 1});
      if (draw && !told(i)) entries.back().draws = {&draws[i], 1};
    }
    return entries;
  }

  std::array<TokenId, kRows> tokens;
  std::array<BlockId, kRows> blocks;
  std::array<ipc::Generation, kRows> generations;
  std::array<RowDraw, kRows> draws;
  std::vector<uint16_t> choices{0, 1, 2};
  std::vector<TokenCount> counts{{7, 0}, {8, 1}, {250, 3}};
  std::vector<TokenId> masked{0, 1};
  std::vector<uint64_t> allowed{0xff00, 0, ~uint64_t{0}, 1, 1ull << 40};
};

TEST(CudaBackendDraws, EachRowGetsTheTokensOfItsOwnDrawsAndTheTellingRowsTheirLogits) {
  const TemporaryFile file(model_of(ManyRows::kVocabulary).gguf());
  const LoadedModel loaded = load(file);
  ASSERT_TRUE(loaded.backend->info().draws);
  const ManyRows many;
  constexpr size_t kRows = ManyRows::kRows, kVocabulary = ManyRows::kVocabulary;
  std::vector<float> all(kRows * kVocabulary), told;
  ASSERT_TRUE(loaded.backend->step(many.batch(false), {all, {}}));
  size_t drawn = 0, choices = 0, told_rows = 0;
  for (size_t i = 0; i < kRows; ++i) {
    if (ManyRows::told(i)) ++told_rows;
    if (!ManyRows::told(i)) ++drawn, choices += many.draws[i].choices.size();
  }
  told.resize(told_rows * kVocabulary);
  std::vector<DrawnRow> rows(drawn);
  std::vector<DrawnToken> tokens(choices);
  ASSERT_TRUE(loaded.backend->step(
      many.batch(true), {.logits = told, .hidden = {}, .drawn_rows = rows, .drawn_tokens = tokens}));
  Sampler sampler;
  auto row = rows.begin();
  auto token = tokens.begin();
  auto logits = told.begin();
  for (size_t i = 0; i < kRows; ++i) {
    const std::span<float> own = std::span(all).subspan(i * kVocabulary, kVocabulary);
    if (ManyRows::told(i)) {
      EXPECT_TRUE(std::equal(own.begin(), own.end(), logits));
      logits += kVocabulary;
      continue;
    }
    const RowDraw& draw = many.draws[i];
    std::vector<TokenId> seen;
    for (const TokenCount& count : draw.counts) seen.push_back(count.token);
    TokenCounts counts(*draw.generation, seen);
    for (const TokenCount& count : draw.counts) {
      for (uint32_t n = 0; n < count.generated; ++n) counts.add_generated(count.token);
    }
    EXPECT_EQ(row->fault, DrawFault::kNone);
    EXPECT_EQ(row->alternatives_size, draw.generation->logprobs % 255);
    ++row;
    for (const uint16_t choice : draw.choices) {
      const Draw on_host{*draw.generation, counts, choice, draw.index, draw.masked, {}, draw.allowed};
      EXPECT_EQ((token++)->token, sampler.sample({own}, on_host).value()) << "row " << i;
    }
  }
}

std::vector<ipc::Submit> requests_of_all_kinds(uint32_t vocabulary) {
  std::mt19937 random(17);
  std::vector<ipc::Submit> requests;
  for (ipc::RequestId id = 1; id <= 24; ++id) {
    std::vector<TokenId> prompt(1 + random() % 12);
    for (TokenId& token : prompt) token = random() % vocabulary;
    auto request = testing::token_request(id, prompt, 6 + random() % 10);
    auto& generation = request.generation;
    generation.seed = random();
    generation.temperature = static_cast<float>(random() % 3) * 0.6f;
    if (random() % 3 == 0) generation.top_k = 1 + random() % 20;
    if (random() % 3 == 0) generation.top_p = 0.85f;
    if (random() % 3 == 0) generation.min_p = 0.05f;
    if (random() % 3 == 0) generation.frequency_penalty = 0.8f;
    if (random() % 3 == 0) generation.logit_bias = {{40, 2.0f}, {9, 3.0f}, {40, 0.5f}};
    if (random() % 3 == 0) generation.choices = 3;
    if (random() % 2 == 0) generation.logprobs = static_cast<uint8_t>(random() % 6);
    if (random() % 4 == 0) generation.echo = true;
    if (random() % 3 == 0) generation.tokens_min = 8;
    if (random() % 4 == 0) generation.constraint = {ipc::ConstraintKind::kGrammar, "root ::= [a-m]+ [n-z]"};
    requests.push_back(std::move(request));
  }
  return requests;
}

TEST(CudaBackendDraws, AnswersAreThoseThatTheEnginesSamplerGivesDraftedOrNot) {
  const TinyModel model = model_of(50);
  const TemporaryFile file(model.gguf());
  LoadedModel loaded = load(file);
  TellingBackend telling(*loaded.backend);
  const auto requests = requests_of_all_kinds(model.vocabulary);
  for (const Speculation speculation : {Speculation::kOff, Speculation::kAlways}) {
    GpuEngine drawing(loaded, *loaded.backend, {.speculation = speculation});
    drawing.run(requests);
    GpuEngine sampling(loaded, telling, {.speculation = speculation});
    sampling.run(requests);
    for (const auto& request : requests) {
      SCOPED_TRACE(request.request);
      const testing::Told &ours = drawing.sink[request.request], &theirs = sampling.sink[request.request];
      EXPECT_EQ(ours.failed, theirs.failed);
      EXPECT_EQ(ours.failure.message, theirs.failure.message);
      ASSERT_EQ(ours.choices.size(), theirs.choices.size());
      for (const auto& [number, choice] : theirs.choices) {
        const auto& own = ours.choices.at(number);
        EXPECT_EQ(own.tokens, choice.tokens);
        EXPECT_EQ(own.text, choice.text);
        EXPECT_EQ(own.reason, choice.reason);
        testing::expect_same_logprobs(own.logprobs, choice.logprobs);
        testing::expect_same_logprobs(own.echo_logprobs, choice.echo_logprobs);
      }
    }
  }
}

}  // namespace
}  // namespace deepserve::runner
