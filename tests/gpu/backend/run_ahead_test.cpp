// Steps that are started on the GPU while the one before them runs, with tokens that nobody has seen yet.
#include <gtest/gtest.h>

#include <random>

#include "runner/backend/cuda/cuda_backend.h"
#include "tests/gpu/backend/gpu_engine.h"
#include "tests/gpu/backend/gpu_model.h"
#include "tests/unit/engine/same_logprobs.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

const TinyModel kModel{.seed = 31,
                       .type = kernels::WeightType::kBF16,
                       .vocabulary = 50,
                       .embedding = 64,
                       .feed_forward = 96,
                       .head_dim = 16};

// Counts how many steps are started while one is under way.
class CountingBackend final : public Backend {
 public:
  explicit CountingBackend(Backend& inner) : inner_(inner) {}
  const BackendInfo& info() const override { return inner_.info(); }
  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    return inner_.step(batch, outputs);
  }
  Result<void> start(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    ahead += under_way_++ > 0;
    return inner_.start(batch, outputs);
  }
  Result<void> finish() override {
    --under_way_;
    return inner_.finish();
  }
  bool is_over() const override { return inner_.is_over(); }
  double device_seconds() const override { return inner_.device_seconds(); }
  void copy_block(BlockId from, BlockId to) override { inner_.copy_block(from, to); }

  uint64_t ahead = 0;

 private:
  Backend& inner_;
  int under_way_ = 0;
};

std::vector<ipc::Submit> plain_requests() {
  std::mt19937 random(23);
  std::vector<ipc::Submit> requests;
  for (ipc::RequestId id = 1; id <= 16; ++id) {
    auto request = testing::token_request(id, random_tokens(1 + random() % 40, kModel.vocabulary, random()),
                                          4 + random() % 40);
    auto& generation = request.generation;
    generation.seed = random();
    generation.temperature = static_cast<float>(random() % 3) * 0.6f;
    if (random() % 3 == 0) generation.top_k = 1 + random() % 20;
    if (random() % 3 == 0) generation.top_p = 0.85f;
    if (random() % 3 == 0) generation.choices = 3;
    if (random() % 2 == 0) generation.logprobs = static_cast<uint8_t>(random() % 6);
    if (random() % 3 == 0) generation.tokens_min = 8;
    requests.push_back(std::move(request));
  }
  return requests;
}

TEST(CudaBackendAhead, AnswersAreThoseOfStepsThatComeOneByOne) {
  const TemporaryFile file(kModel.gguf());
  LoadedModel loaded = load_model(file.path(), gpu_options()).value();
  const auto requests = plain_requests();
  CountingBackend counting(*loaded.backend);
  GpuEngine ahead(loaded, counting, {.sequences_max = 12, .step_tokens_max = 24});
  ahead.run(requests);
  EXPECT_GT(counting.ahead, 40u);
  GpuEngine one_by_one(loaded, *loaded.backend,
                       {.sequences_max = 12, .step_tokens_max = 24, .run_ahead = false});
  one_by_one.run(requests);
  for (const auto& request : requests) {
    SCOPED_TRACE(request.request);
    const testing::Told &ours = ahead.sink[request.request], &theirs = one_by_one.sink[request.request];
    ASSERT_EQ(ours.choices.size(), theirs.choices.size());
    for (const auto& [number, choice] : theirs.choices) {
      const auto& own = ours.choices.at(number);
      EXPECT_EQ(own.tokens, choice.tokens);
      EXPECT_EQ(own.text, choice.text);
      testing::expect_same_logprobs(own.logprobs, choice.logprobs);
    }
  }
}

// Sequences of one token each.
struct DrawnStep {
  DrawnStep(uint32_t sequences, BlockId first_block, uint32_t seed)
      : tokens(random_tokens(sequences, kModel.vocabulary, seed)), rows(sequences), drawn(sequences) {
    for (uint32_t i = 0; i < sequences; ++i) {
      blocks.push_back(first_block + i);
      draws.push_back({.generation = &generation, .choices = {&choice, 1}});
    }
  }
  std::vector<BatchEntry> batch() const {
    std::vector<BatchEntry> entries;
    for (size_t i = 0; i < tokens.size(); ++i) {
      entries.push_back(
          {.tokens = {&tokens[i], 1}, .blocks = {&blocks[i], 1}, .logits_rows = 1, .draws = {&draws[i], 1}});
    }
    return entries;
  }
  StepOutputs outputs() { return {{}, {}, {}, {}, rows, drawn}; }
  std::vector<TokenId> drawn_ids() const {
    std::vector<TokenId> ids;
    for (const DrawnToken& token : drawn) ids.push_back(token.token);
    return ids;
  }

  const uint16_t choice = 0;
  std::vector<TokenId> tokens;
  std::vector<BlockId> blocks;
  ipc::Generation generation;
  std::vector<RowDraw> draws;
  std::vector<DrawnRow> rows;
  std::vector<DrawnToken> drawn;
};

TEST(CudaBackendAhead, WhatAStepDrewIsKeptWhereTheNextOneNeedsMoreMemoryForItsOwn) {
  constexpr uint32_t kRows = 400;  // whose results are more than there is memory for at first
  const TemporaryFile file(kModel.gguf());
  BackendOptions options = gpu_options();
  options.batch_tokens_max = kRows;
  const auto backend = load_backend(file.path(), options);
  ASSERT_NE(backend, nullptr);
  ASSERT_GT(backend->info().blocks, kRows + 5);
  DrawnStep first(5, kRows, 1), large(kRows, 0, 2);
  auto ahead = large.batch();
  for (size_t i = 0; i < ahead.size(); i += 3) ahead[i].last_drawn = static_cast<uint32_t>(i) % 5;
  ASSERT_TRUE(backend->start(first.batch(), first.outputs()));
  ASSERT_TRUE(backend->start(ahead, large.outputs()));
  ASSERT_TRUE(backend->finish());
  ASSERT_TRUE(backend->finish());
  const auto drawn = large.drawn_ids();
  for (size_t i = 0; i < ahead.size(); i += 3) large.tokens[i] = first.drawn[ahead[i].last_drawn].token;
  ASSERT_TRUE(backend->step(large.batch(), large.outputs()));
  EXPECT_EQ(drawn, large.drawn_ids());
}

}  // namespace
}  // namespace deepserve::runner
