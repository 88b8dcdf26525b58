// Whole models on the GPU (or its emulator) beside the CPU backend, which is held against float64.
#include "runner/backend/cuda/cuda_backend.h"

#include <random>

#include "tests/gpu/backend/gpu_model.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;

class CudaBackend : public testing::TestWithParam<TinyModel> {};

TEST_P(CudaBackend, LogitsAreTheCpusButForTheRoundingOfInputs) {
  const TinyModel& model = GetParam();
  const TemporaryFile file(model.gguf());
  const auto gpu = load_backend(file.path(), gpu_options()), cpu = load_backend(file.path(), exact_options());
  ASSERT_TRUE(gpu != nullptr && cpu != nullptr);
  const auto prompt = random_tokens(40, model.vocabulary, model.seed);
  const double error = relative_error(*run_alone(*gpu, prompt), *run_alone(*cpu, prompt));
  std::printf("error %.4f\n", error);
  EXPECT_LT(error, kErrorMax);
}

INSTANTIATE_TEST_SUITE_P(
    Models, CudaBackend,
    testing::Values(
        TinyModel{.seed = 1, .type = WeightType::kBF16, .embedding = 64, .feed_forward = 96, .head_dim = 16},
        TinyModel{.seed = 2,
                  .architecture = "qwen2",
                  .type = WeightType::kBF16,
                  .embedding = 64,
                  .feed_forward = 100,
                  .head_dim = 16,
                  .tied = true},
        TinyModel{.seed = 3,
                  .architecture = "qwen3",
                  .type = WeightType::kF16,
                  .embedding = 72,
                  .feed_forward = 96,
                  .heads = 4,
                  .kv_heads = 1,
                  .head_dim = 32},
        TinyModel{.seed = 4,
                  .type = WeightType::kQ8_0,
                  .embedding = 64,
                  .feed_forward = 96,
                  .heads = 8,
                  .head_dim = 8,
                  .linear_factor = 4,
                  .all_biases = true},
        TinyModel{.seed = 5,
                  .architecture = "qwen2",
                  .type = WeightType::kQ4K,
                  .embedding = 256,
                  .feed_forward = 256,
                  .head_dim = 64},
        TinyModel{.seed = 6,
                  .type = WeightType::kQ6K,
                  .embedding = 256,
                  .feed_forward = 256,
                  .head_dim = 64,
                  .rotated_dims = 32,
                  .rope_factors = true}));

TEST(CudaBackendExactness, ChunksAndCompanyChangeNoBit) {
  const TinyModel model{
      .seed = 7, .type = WeightType::kBF16, .embedding = 64, .feed_forward = 96, .head_dim = 16};
  const TemporaryFile file(model.gguf());
  const auto backend = load_backend(file.path(), gpu_options());
  ASSERT_NE(backend, nullptr);
  const auto prompt = random_tokens(50, model.vocabulary, 3);
  const auto alone = run_alone(*backend, prompt);
  ASSERT_TRUE(alone);
  std::mt19937 random(9);
  for (int round = 0; round < 4; ++round) {
    TestSequence sequences[3];
    for (size_t i = 0; i < 3; ++i) {
      sequences[i].tokens = i == 1 ? prompt : random_tokens(50, model.vocabulary, 20 + i);
      for (BlockId b = 0; b < 4; ++b) sequences[i].blocks.push_back(static_cast<BlockId>(b * 3 + i));
    }
    while (sequences[1].done < 50) {
      size_t counts[3];
      for (size_t i = 0; i < 3; ++i) {
        counts[i] = std::min<size_t>(random() % 20 + (i == 1), 50 - sequences[i].done);
      }
      ASSERT_TRUE(run_step(*backend, sequences, counts));
    }
    EXPECT_EQ(sequences[1].logits, *alone) << "round " << round;
  }
}

class CudaBackendPrefill : public testing::TestWithParam<WeightType> {};

TEST_P(CudaBackendPrefill, OfManyTokensByALibraryComesToTheSame) {
  const TinyModel model{.seed = 11,
                        .architecture = "qwen2",
                        .type = GetParam(),
                        .layers = 1,
                        .embedding = 256,
                        .feed_forward = 256,
                        .head_dim = 32};
  const TemporaryFile file(model.gguf());
  BackendOptions by_library = gpu_options();
  by_library.deterministic = false;
  const auto own = load_backend(file.path(), gpu_options()), library = load_backend(file.path(), by_library);
  ASSERT_TRUE(own != nullptr && library != nullptr);
  EXPECT_NE(own->info().numerics_id, library->info().numerics_id);
  const auto prompt = random_tokens(70, model.vocabulary, 12);
  const double error = relative_error(*logits_of(*library, prompt, 70), *logits_of(*own, prompt, 70));
  EXPECT_LT(error, kErrorMax);
  EXPECT_GT(error, 0) << "the library was not asked";
}

INSTANTIATE_TEST_SUITE_P(Formats, CudaBackendPrefill,
                         testing::Values(WeightType::kBF16, WeightType::kF16, WeightType::kQ8_0,
                                         WeightType::kQ4K));

TEST(CudaBackendBlocks, ACopiedBlockIsReadLikeTheOneItCameFrom) {
  const TinyModel model{
      .seed = 8, .type = WeightType::kBF16, .embedding = 64, .feed_forward = 96, .head_dim = 16};
  const TemporaryFile file(model.gguf());
  const auto backend = load_backend(file.path(), gpu_options());
  ASSERT_NE(backend, nullptr);
  TestSequence first;
  first.tokens = random_tokens(20, model.vocabulary, 5);
  first.blocks = {0, 1};
  const size_t most = 19, one = 1;
  ASSERT_TRUE(run_step(*backend, {&first, 1}, {&most, 1}));
  TestSequence second = first;
  second.blocks = {0, 7};
  backend->copy_block(1, 7);
  ASSERT_TRUE(run_step(*backend, {&first, 1}, {&one, 1}));
  ASSERT_TRUE(run_step(*backend, {&second, 1}, {&one, 1}));
  EXPECT_EQ(first.logits, second.logits);
}

TEST(CudaBackendHidden, HiddenStatesAreTheCpusButForTheRoundingOfInputs) {
  const TinyModel model{
      .seed = 9, .type = WeightType::kBF16, .embedding = 64, .feed_forward = 96, .head_dim = 16};
  const TemporaryFile file(model.gguf());
  const auto gpu = load_backend(file.path(), gpu_options()), cpu = load_backend(file.path(), {});
  ASSERT_TRUE(gpu != nullptr && cpu != nullptr);
  const auto tokens = random_tokens(9, model.vocabulary, 6);
  const BlockId block = 0;
  std::vector<float> ours(9 * 64), theirs(9 * 64);
  const BatchEntry entry{.tokens = tokens, .blocks = {&block, 1}, .hidden_rows = true};
  ASSERT_TRUE(gpu->step({&entry, 1}, {{}, ours}));
  ASSERT_TRUE(cpu->step({&entry, 1}, {{}, theirs}));
  EXPECT_LT(relative_error(ours, theirs), kErrorMax);
}

}  // namespace
}  // namespace deepserve::runner
