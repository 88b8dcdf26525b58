// Results are bit-equal whatever else is in the batch, however prompts are cut, wherever blocks lie, on any
// number of threads (DESIGN 8).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "runner/model/loaded_model.h"
#include "tests/unit/backend/sequence_runner.h"
#include "tests/unit/kernels/random_weights.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;

constexpr size_t kSequences = 5;

class Schedule {
 public:
  Schedule(Backend& backend, std::vector<std::vector<TokenId>> prompts, std::mt19937& random)
      : backend_(backend), random_(random) {
    std::vector<BlockId> free(backend.info().blocks);
    std::iota(free.begin(), free.end(), BlockId{0});
    std::shuffle(free.begin(), free.end(), random_);
    for (auto& tokens : prompts) {
      TestSequence& sequence = sequences_.emplace_back();
      sequence.tokens = std::move(tokens);
      const size_t blocks =
          (sequence.tokens.size() + backend.info().block_tokens - 1) / backend.info().block_tokens;
      sequence.blocks.assign(free.end() - static_cast<ptrdiff_t>(blocks), free.end());
      free.resize(free.size() - blocks);
    }
  }

  // Random sequences, random chunks, until all are through.
  Result<void> run() {
    for (;;) {
      std::vector<size_t> counts(sequences_.size(), 0);
      size_t room = backend_.info().batch_tokens_max, left = 0;
      for (size_t i = 0; i < sequences_.size(); ++i) {
        const size_t todo = sequences_[i].tokens.size() - sequences_[i].done;
        left += todo;
        if (todo == 0 || random_() % 3 == 0) continue;
        const size_t wanted = random_() % 2 == 0 ? 1 : 1 + random_() % 30;
        counts[i] = std::min({wanted, todo, room});
        room -= counts[i];
      }
      if (left == 0) return {};
      TRY(run_step(backend_, sequences_, counts));
    }
  }

  const std::vector<float>& logits(size_t index) const { return sequences_[index].logits; }

 private:
  Backend& backend_;
  std::mt19937& random_;
  std::vector<TestSequence> sequences_;
};

void expect_exact(const TinyModel& model, const std::string& isa,
                  kernels::KvType kv_type = kernels::KvType::kF32) {
  if (kernels::find_kernels(isa) == nullptr) GTEST_SKIP() << "this CPU has no " << isa;
  const TemporaryFile file(model.gguf());
  std::mt19937 random(model.seed);
  std::vector<std::vector<TokenId>> prompts(kSequences);
  for (auto& prompt : prompts) {
    prompt.resize(1 + random() % 90);
    for (TokenId& token : prompt) token = random() % model.vocabulary;
  }
  BackendOptions options;
  options.isa = isa;
  options.kv_type = kv_type;
  options.batch_tokens_max = 64;
  options.kv_bytes = 4u << 20;
  auto baseline = load_model(file.path(), options);
  ASSERT_TRUE(baseline) << baseline.error().message;
  std::vector<std::vector<float>> expected;
  for (const auto& prompt : prompts) expected.push_back(*run_alone(*baseline->backend, prompt));
  const bool slow = isa == "scalar";
  for (const uint32_t threads : slow ? std::vector{1u, 3u} : std::vector{1u, 2u, 3u, 7u}) {
    options.threads = threads;
    auto loaded = load_model(file.path(), options);
    ASSERT_TRUE(loaded) << loaded.error().message;
    for (int round = 0; round < (slow ? 2 : 4); ++round) {
      Schedule schedule(*loaded->backend, prompts, random);
      ASSERT_TRUE(schedule.run());
      for (size_t i = 0; i < kSequences; ++i) {
        ASSERT_EQ(schedule.logits(i).size(), expected[i].size());
        ASSERT_EQ(
            std::memcmp(schedule.logits(i).data(), expected[i].data(), expected[i].size() * sizeof(float)), 0)
            << model.architecture << " " << isa << ", " << threads << " threads, round " << round
            << ", sequence " << i;
      }
    }
  }
}

class Exactness : public testing::TestWithParam<const char*> {};

TEST_P(Exactness, LlamaDoesNotDependOnTheSchedule) {
  expect_exact({.seed = 21, .feed_forward = 43}, GetParam());
}

TEST_P(Exactness, Qwen2DoesNotDependOnTheSchedule) {
  expect_exact({.seed = 22, .architecture = "qwen2", .type = WeightType::kF16}, GetParam());
}

TEST_P(Exactness, Qwen3DoesNotDependOnTheSchedule) {
  expect_exact({.seed = 23, .architecture = "qwen3", .type = WeightType::kBF16, .head_dim = 10}, GetParam());
}

TEST_P(Exactness, QuantisedWeightsDoNotDependOnTheSchedule) {
  for (const WeightType type : kernels::gguf_weight_types()) {
    SCOPED_TRACE(kernels::weight_format(type).name);
    expect_exact({.seed = 24,
                  .type = type,
                  .layers = 1,
                  .embedding = 256,
                  .feed_forward = 256,
                  .heads = 4,
                  .kv_heads = 2,
                  .head_dim = 64},
                 GetParam());
  }
}

// As are their outlines: run_step() holds them to those of whole rows.
TEST_P(Exactness, LogitsOfManyChunksDoNotDependOnTheSchedule) {
  for (const WeightType type : {WeightType::kQ8_0, WeightType::kF16}) {
    expect_exact({.seed = 26, .type = type, .vocabulary = 2700, .layers = 1}, GetParam());
  }
}

TEST_P(Exactness, NoTypeOfKvCacheDependsOnTheSchedule) {
  for (const kernels::KvType type : {kernels::KvType::kF16, kernels::KvType::kQ8}) {
    SCOPED_TRACE(kernels::kv_type_name(type));
    expect_exact({.seed = 25, .architecture = "qwen3", .head_dim = 18}, GetParam(), type);
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Exactness, testing::Values("scalar", "avx2", "avx512"),
                         [](const auto& isa) { return std::string(isa.param); });

}  // namespace
}  // namespace deepserve::runner
