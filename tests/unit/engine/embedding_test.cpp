// Requests that want the pooled hidden state of their prompt.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runner/engine/mean_pool.h"
#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

using ::testing::HasSubstr;

ipc::Submit embed_request(ipc::RequestId id, std::vector<TokenId> prompt) {
  auto submit = token_request(id, std::move(prompt), 0);
  submit.work = ipc::Work::kEmbed;
  submit.generation.choices = 0;  // nothing of it counts
  return submit;
}

std::vector<TokenId> long_prompt(uint32_t tokens) {
  std::vector<TokenId> prompt(tokens);
  for (uint32_t i = 0; i < tokens; ++i) prompt[i] = 2 + i * 7 % 26;
  return prompt;
}

TEST(Embedding, IsTheMeanOfTheHiddenStatesAtLengthOne) {
  Bench bench(hashing_model());
  const auto& told = bench.submit_and_run(embed_request(1, {3, 5, 4}));  // hidden: (3, 0), (5, 1), (4, 2)
  ASSERT_EQ(told.embedding.size(), kHiddenWidth);
  EXPECT_NEAR(told.embedding[0], 4 / std::sqrt(17.0), 1e-7);
  EXPECT_NEAR(told.embedding[1], 1 / std::sqrt(17.0), 1e-7);
}

TEST(Embedding, EndsWithStopAfterThePromptAloneAndFreesItsBlocks) {
  Bench bench(hashing_model());
  const auto& told = bench.submit_and_run(embed_request(1, letters("abcdef")));
  EXPECT_TRUE(told.accepted);
  EXPECT_TRUE(told.finished);
  EXPECT_EQ(told.last.reason, ipc::FinishReason::kStop);
  EXPECT_EQ(told.last.usage.prompt_tokens, 6u);
  EXPECT_EQ(told.last.usage.completion_tokens, 0u);
  EXPECT_TRUE(told.choices.at(0).tokens.empty());
  EXPECT_EQ(bench.backend.tokens_run, 6u);
  EXPECT_EQ(bench.engine->gauges().kv_blocks_free, bench.engine->gauges().kv_blocks_total);
}

TEST(Embedding, MayFillTheWholeContextAndNoMore) {
  Bench bench(hashing_model(), {.context_tokens = 16});
  EXPECT_TRUE(bench.submit_and_run(embed_request(1, long_prompt(16))).finished);
  EXPECT_EQ(bench.submit_and_run(embed_request(2, long_prompt(17))).failure.code, Code::kContextLength);
  Bench small(hashing_model(), {.blocks = 4, .block_tokens = 4});
  EXPECT_TRUE(small.submit_and_run(embed_request(1, long_prompt(16))).finished);
  EXPECT_EQ(small.submit_and_run(embed_request(2, long_prompt(17))).failure.code, Code::kContextLength);
}

TEST(Embedding, OfNothingIsRefused) {
  Bench bench(hashing_model());
  EXPECT_EQ(bench.submit_and_run(embed_request(1, {})).failure.code, Code::kInvalidRequest);
  auto text = embed_request(2, {});
  text.prompt.kind = ipc::PromptKind::kText;  // BOS would make it one token
  EXPECT_THAT(bench.submit_and_run(text).failure.message, HasSubstr("empty"));
}

TEST(Embedding, IsTheSameHoweverThePromptIsCutAndWhateverRunsBesideIt) {
  Bench whole(hashing_model());
  const auto expected = whole.submit_and_run(embed_request(1, long_prompt(60))).embedding;
  for (uint32_t chunk = 1; chunk < 20; ++chunk) {
    Bench bench(hashing_model(-100), {.batch_tokens_max = chunk + 1}, {.sequences_max = 2});
    bench.engine->submit(token_request(2, letters("abc"), 30));
    EXPECT_EQ(bench.submit_and_run(embed_request(1, long_prompt(60))).embedding, expected) << chunk;
    EXPECT_TRUE(bench.sink[2].finished);
  }
}

TEST(Embedding, PreemptedBeginsAnew) {
  Bench whole(hashing_model());
  const auto expected = whole.submit_and_run(embed_request(1, long_prompt(40))).embedding;
  Bench bench(hashing_model(-100), {.blocks = 12, .block_tokens = 4, .batch_tokens_max = 8});
  auto request = embed_request(1, long_prompt(40));
  request.service_class = ipc::Class::kBatch;
  bench.engine->submit(request);
  ASSERT_TRUE(bench.engine->step());
  ASSERT_TRUE(bench.engine->step());
  auto vip = token_request(2, long_prompt(30), 5);
  vip.service_class = ipc::Class::kVip;
  bench.engine->submit(vip);
  bench.run();
  EXPECT_EQ(bench.engine->gauges().preemptions_total, 1u);
  EXPECT_EQ(bench.sink[1].embedding, expected);
  EXPECT_EQ(bench.sink[1].terminal_outcomes, 1u);
}

TEST(Embedding, CancelledInTheMiddleTellsNoneAndFreesItsBlocks) {
  Bench bench(hashing_model(), {.batch_tokens_max = 8});
  bench.engine->submit(embed_request(1, long_prompt(40)));
  ASSERT_TRUE(bench.engine->step());
  bench.engine->cancel(1);
  EXPECT_EQ(bench.sink[1].last.reason, ipc::FinishReason::kCancelled);
  EXPECT_TRUE(bench.sink[1].embedding.empty());
  EXPECT_FALSE(bench.engine->has_work());
  EXPECT_EQ(bench.engine->gauges().kv_blocks_free, bench.engine->gauges().kv_blocks_total);
}

TEST(Embedding, ThatIsNoNumberIsANumericFaultOfItsRequestAlone) {
  Bench bench(hashing_model(-100));
  bench.engine->submit(token_request(2, letters("abc"), 10));
  const auto& told = bench.submit_and_run(embed_request(1, {5, kPoison, 6}));
  EXPECT_TRUE(told.failed);
  EXPECT_EQ(told.failure.code, Code::kNumericFault);
  EXPECT_TRUE(told.embedding.empty());
  EXPECT_TRUE(bench.sink[2].finished);
  EXPECT_EQ(bench.engine->gauges().kv_blocks_free, bench.engine->gauges().kv_blocks_total);
}

TEST(MeanPool, StatesThatCancelOutOrOverflowAreNumericFaults) {
  MeanPool pool;
  pool.add(0, std::vector<float>{1, -2, -1, 2}, 2);
  EXPECT_EQ(pool.embedding().error().code, Code::kNumericFault);
  pool.add(0, std::vector<float>{std::numeric_limits<float>::infinity(), 0}, 2);
  EXPECT_EQ(pool.embedding().error().code, Code::kNumericFault);
  constexpr float kMost = std::numeric_limits<float>::max();
  pool.add(0, std::vector<float>{kMost, kMost, kMost, kMost}, 2);
  EXPECT_NEAR(pool.embedding().value()[0], std::sqrt(0.5), 1e-7);
}

}  // namespace
}  // namespace deepserve::runner::testing
