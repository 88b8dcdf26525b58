// Steps that decode are started as graphs, and compute what the same kernels compute one by one.
#include "runner/backend/cuda/step_graphs.h"

#include <gtest/gtest.h>

#include "tests/gpu/backend/gpu_model.h"
#include "tests/gpu/emulator/device.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using cuda::StepGraphs;

TEST(StepGraphsRows, AreNeverFewerThanTheTokensAndOfFewKinds) {
  std::vector<uint32_t> kinds;
  for (uint32_t tokens = 1; tokens <= 512; ++tokens) {
    const uint32_t rows = StepGraphs::rows_for(tokens);
    EXPECT_GE(rows, tokens);
    EXPECT_EQ(StepGraphs::rows_for(rows), rows);
    if (kinds.empty() || kinds.back() != rows) kinds.push_back(rows);
  }
  EXPECT_LE(kinds.size(), 20u);
  EXPECT_EQ(StepGraphs::rows_for(513), 0u);
}

class StepGraphsOfModel : public testing::Test {
 protected:
  static constexpr uint32_t kBlocks = 10;

  StepGraphsOfModel() {
    emulator::set_device({});
    BackendOptions options = gpu_options();
    options.kv_bytes = kBlocks * 16 * 2 * 2 * 16 * 2 * 2;
    options.batch_tokens_max = 256;
    backend_ = load_backend(file_.path(), options);
  }
  ~StepGraphsOfModel() override { emulator::set_device({}); }

  // `count` sequences, of which number i has the tokens of seed i and the blocks i, i + count, ...
  std::vector<TestSequence> sequences(size_t count, size_t tokens) {
    std::vector<TestSequence> made(count);
    for (size_t i = 0; i < count; ++i) {
      made[i].tokens = random_tokens(tokens, model_.vocabulary, static_cast<uint32_t>(i) + 1);
      for (size_t b = 0; b < (tokens + 15) / 16; ++b)
        made[i].blocks.push_back(static_cast<BlockId>(b * count + i));
    }
    return made;
  }
  void step(std::vector<TestSequence>& all, const std::vector<size_t>& counts) {
    ASSERT_TRUE(run_step(*backend_, all, counts));
  }

  TinyModel model_{
      .seed = 3, .type = kernels::WeightType::kBF16, .embedding = 64, .feed_forward = 96, .head_dim = 16};
  TemporaryFile file_{model_.gguf()};
  std::unique_ptr<Backend> backend_;
};

TEST_F(StepGraphsOfModel, DecodeByGraphsIsToTheBitAPrefillOfTheSameTokens) {
  auto decoded = sequences(3, 24), prefilled = sequences(3, 24);
  const uint64_t before = emulator::graph_launches();
  for (int i = 0; i < 24; ++i) step(decoded, {1, 1, 1});
  // The first step of a number of rows loads its kernels.
  EXPECT_EQ(emulator::graph_launches() - before, 23u);
  step(prefilled, {24, 24, 24});
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(decoded[i].logits, prefilled[i].logits) << i;
}

TEST_F(StepGraphsOfModel, RowsThatPadAStepTouchNobodysKeys) {
  ASSERT_EQ(backend_->info().blocks, kBlocks);
  auto all = sequences(5, 32), alone = sequences(5, 32);  // in every block of the cache
  step(all, {31, 31, 31, 31, 31});
  const uint64_t before = emulator::graph_launches();
  step(all, {1, 0, 0, 0, 0});
  step(all, {0, 1, 1, 1, 0});  // four rows
  step(all, {0, 0, 0, 0, 1});
  EXPECT_EQ(emulator::graph_launches(), before + 1) << "the second of one row";
  step(alone, {32, 32, 32, 32, 32});
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(all[i].logits, alone[i].logits) << i;
}

TEST_F(StepGraphsOfModel, AreMadeAgainWhenTheBlockTablesMove) {
  constexpr size_t kTokens = 160, kBefore = kTokens - 2, kCopies = 32;
  auto once = sequences(1, kTokens), prefilled = once, few = once;
  for (int i = 0; i < 2; ++i) step(few, {1});  // a graph over the first tables
  step(once, {kBefore});
  once[0].logits.clear();
  // Together their tables have more ids than the cache has blocks and a step has rows.
  std::vector<TestSequence> copies(kCopies, once[0]);
  for (int i = 0; i < 2; ++i) step(copies, std::vector<size_t>(kCopies, 1));
  step(few, {1});
  step(prefilled, {kTokens});
  const auto& all = prefilled[0].logits;
  const std::vector<float> last(all.end() - 2 * model_.vocabulary, all.end());
  for (const auto& copy : copies) EXPECT_EQ(copy.logits, last);
  EXPECT_TRUE(std::equal(few[0].logits.begin(), few[0].logits.end(), all.begin()));
}

TEST_F(StepGraphsOfModel, AFaultInAGraphIsTheStepsError) {
  auto all = sequences(2, 16);
  step(all, {1, 1});
  step(all, {1, 1});
  emulator::set_device({.fault = 700, .fault_launches = 3});
  const std::vector<size_t> one{1, 1};
  const auto failed = run_step(*backend_, all, one);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::kDeviceFault);
}

}  // namespace
}  // namespace deepserve::runner
