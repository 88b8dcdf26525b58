#include "runner/model/loaded_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "tests/unit/backend/sequence_runner.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using testing::HasSubstr;

TEST(LoadedModel, TellsWhatTheFileHolds) {
  const auto bytes = TinyModel{}.gguf();
  const TemporaryFile file(bytes);
  BackendOptions options;
  options.kv_bytes = 1u << 20;
  std::vector<uint64_t> progress;
  options.on_bytes_loaded = [&](uint64_t loaded) { progress.push_back(loaded); };
  const auto model = load_model(file.path(), options);
  ASSERT_TRUE(model) << model.error().message;
  const BackendInfo& info = model->backend->info();
  EXPECT_EQ(info.architecture, "llama");
  EXPECT_EQ(info.weights_type, "F32");
  EXPECT_EQ(info.vocabulary, 50u);
  EXPECT_EQ(info.context_tokens_model, 256u);
  EXPECT_EQ(info.block_tokens, 16u);
  EXPECT_EQ(info.blocks,
            (1u << 20) / (2 * 2 * 2 * 16 * 6 * 4));  // layers, key and value, heads, tokens, head_dim
  EXPECT_FALSE(progress.empty());
  EXPECT_EQ(progress.back(), bytes.size());
  ASSERT_TRUE(model->vocabulary);
  EXPECT_EQ(model->vocabulary->tokens.size(), 50u);
}

TEST(LoadedModel, ProgressGoesOnWhileWeightsArePacked) {
  const auto bytes =
      TinyModel{.type = kernels::WeightType::kQ8_0, .vocabulary = 4096, .layers = 1, .embedding = 1024}
          .gguf();
  const TemporaryFile file(bytes);
  BackendOptions options;
  std::vector<uint64_t> progress;
  options.on_bytes_loaded = [&](uint64_t loaded) { progress.push_back(loaded); };
  ASSERT_TRUE(load_model(file.path(), options));
  EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
  const auto read = std::find(progress.begin(), progress.end(), bytes.size());
  ASSERT_NE(read, progress.end());
  EXPECT_GE(progress.end() - read, 4);  // a MiB at a time
  const uint64_t output_bytes = kernels::packed_bytes(kernels::WeightType::kQ8_0, 4096, 1024);
  EXPECT_GE(progress.back(), bytes.size() + output_bytes);
}

TEST(LoadedModel, NumericsIdTellsWeightsAndIsaApart) {
  const TemporaryFile one(TinyModel{.seed = 1}.gguf()), same(TinyModel{.seed = 1}.gguf()),
      other(TinyModel{.seed = 2}.gguf());
  const auto id = [](const TemporaryFile& file, const char* isa) {
    BackendOptions options;
    options.isa = isa;
    return load_model(file.path(), options)->backend->info().numerics_id;
  };
  EXPECT_EQ(id(one, "scalar"), id(same, "scalar"));
  EXPECT_NE(id(one, "scalar"), id(other, "scalar"));
  for (const char* isa : {"", "scalar", "avx2", "avx512"}) {
    const kernels::Kernels* kernels = kernels::find_kernels(isa);
    if (kernels == nullptr) continue;
    EXPECT_THAT(id(one, isa), HasSubstr(fmt::format("-{}-", kernels->isa)));
  }
}

TEST(LoadedModel, WithoutAVocabularyTheBackendStillComputes) {
  const TemporaryFile file(TinyModel{.with_vocabulary = false}.gguf());
  const auto model = load_model(file.path(), {});
  ASSERT_TRUE(model);
  EXPECT_FALSE(model->vocabulary);
  EXPECT_THAT(model->vocabulary_error.message, HasSubstr("tokenizer.ggml.model"));
  EXPECT_TRUE(run_alone(*model->backend, {1, 2, 3}));
}

TEST(LoadedModel, RefusalsNameTheFile) {
  auto bytes = TinyModel{}.gguf();
  bytes.resize(bytes.size() / 2);
  const TemporaryFile cut(bytes);
  const auto model = load_model(cut.path(), {});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, Code::kBadModelFile);
  EXPECT_THAT(model.error().message, HasSubstr(cut.path().string()));
}

TEST(LoadedModel, OptionsThatCannotBeMetAreRefused) {
  const TemporaryFile file(TinyModel{}.gguf());
  BackendOptions isa;
  isa.isa = "quantum";
  EXPECT_EQ(load_model(file.path(), isa).error().code, Code::kInvalidConfig);
  BackendOptions memory;
  memory.kv_bytes = 100;
  EXPECT_EQ(load_model(file.path(), memory).error().code, Code::kInvalidConfig);
  memory.kv_bytes = uint64_t{1} << 62;
  const auto huge = load_model(file.path(), memory);
  ASSERT_FALSE(huge) << "the kernel grants it, and nothing is behind it";
  EXPECT_EQ(huge.error().code, Code::kInvalidConfig);
  EXPECT_THAT(huge.error().message, HasSubstr("this host's memory"));
}

TEST(LoadedModel, AFileThatChangesUnderUsFailsTheNextStep) {
  const TemporaryFile file(TinyModel{}.gguf());
  const auto model = load_model(file.path(), {});
  ASSERT_TRUE(model);
  ASSERT_TRUE(run_alone(*model->backend, {1, 2}));
  std::ofstream(file.path(), std::ios::app) << "x";
  const auto after = run_alone(*model->backend, {1, 2});
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().code, Code::kBadModelFile);
  EXPECT_THAT(after.error().message, HasSubstr("changed while it was in use"));
}

TEST(LoadedModel, ACopiedBlockContinuesLikeTheOriginal) {
  const TemporaryFile file(TinyModel{}.gguf());
  const auto model = load_model(file.path(), {});
  ASSERT_TRUE(model);
  Backend& backend = *model->backend;
  std::vector<TestSequence> both(2);
  for (auto& sequence : both) sequence.tokens.assign(20, 7);
  both[0].blocks = {0, 1};
  both[1].blocks = {0, 3};
  const std::vector<size_t> first = {18, 0}, rest = {2, 2};
  ASSERT_TRUE(run_step(backend, both, first));
  backend.copy_block(1, 3);
  both[1].done = 18;
  ASSERT_TRUE(run_step(backend, both, rest));
  const size_t tail = 2 * backend.info().vocabulary;
  EXPECT_EQ(
      std::memcmp(&both[0].logits[both[0].logits.size() - tail], both[1].logits.data(), tail * sizeof(float)),
      0);
}

}  // namespace
}  // namespace deepserve::runner
