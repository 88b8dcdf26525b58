// A model over several ranks computes the bits that it computes alone where its ranks are branches of the
// tree of sums, and the same up to the order of sums elsewhere; and the same bits from run to run, whatever
// else is in the batch.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "kernels/cpu/packed_matrix.h"
#include "runner/model/loaded_model.h"
#include "tests/unit/backend/reference_model.h"
#include "tests/unit/backend/sequence_runner.h"
#include "tests/unit/backend/threaded_ranks.h"
#include "tests/unit/kernels/random_weights.h"
#include "tests/unit/model/temporary_file.h"
#include "tests/unit/model/tiny_model.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;

BackendOptions small_options() {
  BackendOptions options;
  options.batch_tokens_max = 64;
  options.kv_bytes = 4u << 20;
  return options;
}

TinyModel spreadable(WeightType type, const char* architecture = "llama") {
  return {.seed = 7,
          .architecture = architecture,
          .type = type,
          .layers = 2,
          .embedding = 256,
          .feed_forward = 512,
          .heads = 8,
          .kv_heads = 4,
          .head_dim = 32,
          .all_biases = std::string(architecture) == "llama"};
}

std::vector<TokenId> random_tokens(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = random() % 50;
  return tokens;
}

// The largest difference of a position over its largest logit.
double difference(std::span<const float> actual, std::span<const float> expected, size_t vocabulary) {
  EXPECT_EQ(actual.size(), expected.size());
  double worst = 0;
  for (size_t begin = 0; begin < expected.size(); begin += vocabulary) {
    double largest = 0, apart = 0;
    for (size_t i = begin; i < begin + vocabulary; ++i) {
      largest = std::max(largest, std::abs(double{expected[i]}));
      apart = std::max(apart, std::abs(double{actual[i]} - double{expected[i]}));
    }
    worst = std::max(worst, std::isfinite(apart) ? apart / largest : INFINITY);
  }
  return worst;
}

// All of one sequence in steps of `chunk` tokens, in blocks out of order.
std::vector<float> run_in_chunks(Backend& backend, const std::vector<TokenId>& tokens, size_t chunk) {
  TestSequence sequence;
  sequence.tokens = tokens;
  sequence.blocks = {3, 1, 0, 2};
  while (sequence.done < tokens.size()) {
    const size_t count = std::min(chunk, tokens.size() - sequence.done);
    const auto done = run_step(backend, {&sequence, 1}, {&count, 1});
    EXPECT_TRUE(done) << done.error().message;
    if (!done) return {};
  }
  return sequence.logits;
}

void expect_same_bits(std::span<const float> actual, std::span<const float> expected) {
  ASSERT_EQ(actual.size(), expected.size());
  EXPECT_EQ(std::memcmp(actual.data(), expected.data(), expected.size_bytes()), 0);
}

void expect_bits_of_one_process(const TinyModel& model, uint32_t ranks) {
  const TemporaryFile file(model.gguf());
  const auto tokens = random_tokens(60, 3);
  for (const bool rounds_inputs : {false, true}) {
    if (rounds_inputs && !kernels::is_packable(model.type)) continue;
    SCOPED_TRACE(testing::Message() << ranks << " ranks" << (rounds_inputs ? ", rounded inputs" : ""));
    BackendOptions options = small_options();
    options.rounds_inputs = rounds_inputs;
    auto alone = load_model(file.path(), options);
    ASSERT_TRUE(alone) << alone.error().message;
    const auto expected = run_in_chunks(*alone->backend, tokens, 60);
    const ThreadedRanks group(file.path(), ranks, options);
    ASSERT_TRUE(group.loaded()) << group.loaded().error().message;
    for (const size_t chunk : {1, 7, 60}) {
      SCOPED_TRACE(testing::Message() << "chunks of " << chunk);
      expect_same_bits(run_in_chunks(group.backend(), tokens, chunk), expected);
    }
    EXPECT_EQ(group.backend().info().blocks, alone->backend->info().blocks);
  }
}

TEST(TensorParallel, LogitsHaveTheBitsOfOneProcessInEveryFormat) {
  for (const WeightType type : kernels::gguf_weight_types()) {
    SCOPED_TRACE(kernels::weight_format(type).name);
    expect_bits_of_one_process(spreadable(type), 2);
  }
}

TEST(TensorParallel, LogitsHaveTheBitsOfOneProcessInEveryArchitecture) {
  for (const char* architecture : {"llama", "qwen2", "qwen3"}) {
    SCOPED_TRACE(architecture);
    expect_bits_of_one_process(spreadable(WeightType::kF16, architecture), 2);
    expect_bits_of_one_process(spreadable(WeightType::kQ8_0, architecture), 2);
  }
}

TEST(TensorParallel, LogitsHaveTheBitsOfOneProcessOnAsManyRanksAsItHasParts) {
  expect_bits_of_one_process(spreadable(WeightType::kQ8_0), 4);
  expect_bits_of_one_process(spreadable(WeightType::kF32), 4);
  TinyModel three = spreadable(WeightType::kQ5_1);
  three.heads = three.kv_heads = 3;
  three.head_dim = 64;
  expect_bits_of_one_process(three, 3);
  expect_bits_of_one_process(three, 2);
  TinyModel eight = spreadable(WeightType::kQ4_0);
  eight.kv_heads = 8;
  for (const uint32_t ranks : {2u, 4u, 8u}) expect_bits_of_one_process(eight, ranks);
  expect_bits_of_one_process({.seed = 8, .feed_forward = 43, .tied = true}, 2);
}

// `inputs_tip`: a difference of the last bits may tip a rounded input that lies between two levels; so with
// tokens that have none such.
void expect_near_one_process(const TinyModel& model, uint32_t ranks, bool inputs_tip) {
  const TemporaryFile file(model.gguf());
  const auto tokens = inputs_tip ? clear_prompt(model, model.gguf(), 2).tokens : random_tokens(40, 3);
  BackendOptions options = small_options();
  options.rounds_inputs = inputs_tip;
  auto alone = load_model(file.path(), options);
  ASSERT_TRUE(alone) << alone.error().message;
  const auto expected = *run_alone(*alone->backend, tokens);
  const ThreadedRanks group(file.path(), ranks, options);
  ASSERT_TRUE(group.loaded()) << group.loaded().error().message;
  const auto actual = run_alone(group.backend(), tokens);
  ASSERT_TRUE(actual) << actual.error().message;
  EXPECT_LE(difference(*actual, expected, model.vocabulary), 1e-3);
}

TEST(TensorParallel, LogitsAreNearThoseOfOneProcessWhereRanksAreNoBranchesOfTheTree) {
  expect_near_one_process(spreadable(WeightType::kF32), 3, false);
  expect_near_one_process(spreadable(WeightType::kQ8_0), 3, false);
  expect_near_one_process(spreadable(WeightType::kQ8_0), 3, true);
  TinyModel inside = spreadable(WeightType::kQ8_0);  // heads end inside blocks
  inside.heads = inside.kv_heads = 4;
  inside.head_dim = 24;
  expect_near_one_process(inside, 2, false);
}

TEST(TensorParallel, TheNumberOfRanksIsPartOfTheId) {
  const TemporaryFile file(spreadable(WeightType::kQ8_0).gguf());
  const ThreadedRanks group(file.path(), 2, small_options());
  ASSERT_TRUE(group.loaded()) << group.loaded().error().message;
  EXPECT_NE(group.backend().info().numerics_id.find("-r2-"), std::string::npos);
}

TEST(TensorParallel, ResultsAreBitEqualFromRunToRunHoweverThePromptIsCut) {
  for (const WeightType type : {WeightType::kF16, WeightType::kQ8_0, WeightType::kQ4K}) {
    for (const uint32_t ranks : {2u, 3u}) {
      SCOPED_TRACE(testing::Message() << kernels::weight_format(type).name << ", " << ranks << " ranks");
      TinyModel model = spreadable(type);
      model.feed_forward = 1024;
      const TemporaryFile file(model.gguf());
      const auto tokens = random_tokens(50, 4);
      std::vector<float> expected;
      for (const size_t chunk : {1, 7, 50}) {
        const ThreadedRanks group(file.path(), ranks, small_options());
        ASSERT_TRUE(group.loaded()) << group.loaded().error().message;
        const auto logits = run_in_chunks(group.backend(), tokens, chunk);
        if (expected.empty()) expected = logits;
        expect_same_bits(logits, expected);
      }
    }
  }
}

TEST(TensorParallel, ACopiedBlockIsCopiedOnAllRanks) {
  const TemporaryFile file(spreadable(WeightType::kF16).gguf());
  const ThreadedRanks group(file.path(), 2, small_options());
  ASSERT_TRUE(group.loaded());
  TestSequence first;
  first.tokens = random_tokens(20, 5);
  first.blocks = {0, 1};
  const size_t all = 20, some = 10;
  ASSERT_TRUE(run_step(group.backend(), {&first, 1}, {&all, 1}));
  group.backend().copy_block(0, 5);
  TestSequence second;
  second.tokens = first.tokens;
  second.blocks = {5, 6};
  second.done = 10;
  ASSERT_TRUE(run_step(group.backend(), {&second, 1}, {&some, 1}));
  const size_t half = first.logits.size() / 2;
  EXPECT_EQ(std::memcmp(second.logits.data(), first.logits.data() + half, half * sizeof(float)), 0);
}

TEST(TensorParallel, HiddenStatesAreRank0sToGive) {
  const TemporaryFile file(spreadable(WeightType::kF32).gguf());
  const auto tokens = random_tokens(5, 6);
  const std::vector<BlockId> blocks = {0};
  const BatchEntry entry{.tokens = tokens, .blocks = blocks, .hidden_rows = true};
  auto alone = load_model(file.path(), small_options());
  const ThreadedRanks group(file.path(), 2, small_options());
  std::vector<float> expected(5 * 256), actual(5 * 256);
  ASSERT_TRUE(alone->backend->step({&entry, 1}, {{}, expected}));
  ASSERT_TRUE(group.backend().step({&entry, 1}, {{}, actual}));
  expect_same_bits(actual, expected);
}

TEST(TensorParallel, AModelThatCannotBeSpreadIsRefusedByAllRanks) {
  const TemporaryFile file(spreadable(WeightType::kF32).gguf());
  const ThreadedRanks group(file.path(), 5, small_options());
  ASSERT_FALSE(group.loaded());
  EXPECT_EQ(group.loaded().error().code, Code::kInvalidConfig);
  EXPECT_NE(group.loaded().error().message.find("4 key-value heads cannot be spread over 5 ranks"),
            std::string::npos)
      << group.loaded().error().message;
}

}  // namespace
}  // namespace deepserve::runner
