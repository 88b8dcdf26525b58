// The prompt as it is told before the answer: its tokens, text and log probabilities.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "runner/engine/sampler.h"
#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

using ipc::FinishReason;
using ::testing::ElementsAre;

ipc::Submit echo_request(ipc::RequestId id, std::vector<TokenId> prompt, uint32_t tokens_max) {
  auto submit = token_request(id, std::move(prompt), tokens_max);
  submit.generation.echo = true;
  return submit;
}

ipc::Submit scored_request(ipc::RequestId id, std::vector<TokenId> prompt, uint32_t tokens_max) {
  auto submit = echo_request(id, std::move(prompt), tokens_max);
  submit.generation.logprobs = 3;
  return submit;
}

std::vector<TokenId> long_prompt(uint32_t tokens) {
  std::vector<TokenId> prompt(tokens);
  for (uint32_t i = 0; i < tokens; ++i) prompt[i] = 2 + i * 11 % 26;
  return prompt;
}

// That each token of `prompt` was told with what the model says of it after those before it.
void expect_scores(const Told::Choice& choice, const std::vector<TokenId>& prompt, const Model& model) {
  EXPECT_EQ(choice.echo_tokens, prompt);
  ASSERT_EQ(choice.echo_logprobs.size(), prompt.size());
  EXPECT_TRUE(choice.echo_logprobs[0].empty());
  Sampler sampler;
  std::vector<float> logits(kVocabulary);
  for (size_t i = 1; i < prompt.size(); ++i) {
    model(std::span(prompt).first(i), logits);
    const auto expected = sampler.logprobs({logits}, prompt[i], 3);
    ASSERT_EQ(choice.echo_logprobs[i].size(), expected.size()) << i;
    for (size_t j = 0; j < expected.size(); ++j) {
      EXPECT_EQ(choice.echo_logprobs[i][j].token, expected[j].token) << i;
      EXPECT_EQ(choice.echo_logprobs[i][j].logprob, expected[j].logprob) << i;
    }
  }
}

TEST(Echo, ThePromptComesBeforeTheAnswerOfEachChoiceAndAlsoWithoutOne) {
  Bench bench(reciting_model(3, letters("de")));
  auto request = echo_request(1, letters("abc"), 10);
  request.generation.choices = 3;
  const auto& told = bench.submit_and_run(request);
  for (uint16_t choice = 0; choice < 3; ++choice) {
    EXPECT_EQ(told.choices.at(choice).echo_tokens, letters("abc"));
    EXPECT_EQ(told.choices.at(choice).echo_text(), "abc");
    EXPECT_EQ(told.choices.at(choice).text, "de");
  }
  request.request = 2;
  request.generation.tokens_max = 0;
  const auto& alone = bench.submit_and_run(request);
  EXPECT_EQ(alone.choices.at(2).echo_text(), "abc");
  EXPECT_EQ(alone.choices.at(2).reason, FinishReason::kLength);
  EXPECT_EQ(alone.last.usage.completion_tokens, 0u);
}

TEST(Echo, EachTokenHasTheLogprobsThatTheModelGivesItAfterThoseBeforeIt) {
  for (const uint32_t tokens_max : {0u, 1u, 5u}) {
    for (const uint32_t size : {1u, 2u, 3u, 30u}) {
      Bench bench(hashing_model(-100));
      const auto& told = bench.submit_and_run(scored_request(1, long_prompt(size), tokens_max));
      expect_scores(told.choices.at(0), long_prompt(size), hashing_model(-100));
      EXPECT_EQ(told.choices.at(0).tokens.size(), tokens_max);
      EXPECT_EQ(told.choices.at(0).logprobs.size(), tokens_max);
      EXPECT_EQ(told.choices.at(0).reason, FinishReason::kLength);
      EXPECT_EQ(told.last.usage.prompt_tokens, size);
      EXPECT_EQ(bench.engine->gauges().kv_blocks_free, bench.engine->gauges().kv_blocks_total);
    }
  }
}

TEST(Echo, TheScoresAreTheSameHoweverThePromptIsCut) {
  for (uint32_t chunk = 1; chunk <= 32; ++chunk) {
    Bench bench(hashing_model(-100), {.batch_tokens_max = chunk}, {.sequences_max = 1});
    const auto& told = bench.submit_and_run(scored_request(1, long_prompt(31), 2));
    expect_scores(told.choices.at(0), long_prompt(31), hashing_model(-100));
  }
}

TEST(Echo, AllChoicesHearWhatIsComputedOnce) {
  Bench bench(hashing_model(-100), {.batch_tokens_max = 16});
  auto request = scored_request(1, long_prompt(40), 2);
  request.generation.choices = 5;
  const auto& told = bench.submit_and_run(request);
  for (uint16_t choice = 0; choice < 5; ++choice) {
    expect_scores(told.choices.at(choice), long_prompt(40), hashing_model(-100));
  }
  EXPECT_EQ(bench.backend.tokens_run, 40u + 5);
}

TEST(Echo, ChoicesWithoutASeatHearItAsWell) {
  Bench bench(hashing_model(-100), {}, {.sequences_max = 2});
  auto request = scored_request(1, long_prompt(10), 3);
  request.generation.choices = 5;
  const auto& told = bench.submit_and_run(request);
  for (uint16_t choice = 0; choice < 5; ++choice) {
    expect_scores(told.choices.at(choice), long_prompt(10), hashing_model(-100));
    EXPECT_EQ(told.choices.at(choice).tokens.size(), 3u);
  }
}

TEST(Echo, WithLogprobsEachTokensTextIsTheCharactersThatItCompletes) {
  Bench bench(hashing_model(-100));
  const std::vector<TokenId> prompt = {kBos,       letter('a'), kEuro0,     kEuro0 + 1,
                                       kEuro0 + 2, letter('b'), kEuro0 + 2, kEuro0};
  const auto& told = bench.submit_and_run(scored_request(1, prompt, 0));
  EXPECT_THAT(told.choices.at(0).echo_texts,
              ElementsAre("", "a", "", "", "\xe2\x82\xac", "b", "\xef\xbf\xbd", "\xef\xbf\xbd"));
  const auto& plain = bench.submit_and_run(echo_request(2, prompt, 1));
  EXPECT_EQ(plain.choices.at(0).echo_text(), told.choices.at(0).echo_text());
}

TEST(Echo, IsToldAsThePromptIsComputed) {
  Bench bench(hashing_model(-100), {.batch_tokens_max = 8});
  bench.engine->submit(scored_request(1, long_prompt(20), 1));
  ASSERT_TRUE(bench.engine->step());
  EXPECT_EQ(bench.sink[1].choices.at(0).echo_tokens.size(), 9u);
  ASSERT_TRUE(bench.engine->step());
  EXPECT_EQ(bench.sink[1].choices.at(0).echo_tokens.size(), 17u);
  ASSERT_TRUE(bench.engine->step());
  EXPECT_EQ(bench.sink[1].choices.at(0).echo_tokens.size(), 20u);
  EXPECT_EQ(bench.sink[1].choices.at(0).tokens.size(), 1u);
}

TEST(Echo, ScoringALongPromptNeitherStopsOthersNorTakesMoreThanItsRowsOfAStep) {
  Bench bench(hashing_model(-100), {.blocks = 2000, .batch_tokens_max = 256, .context_tokens = 1000},
              {.sequences_max = 200});
  bench.engine->submit(token_request(1, letters("abc"), 200));
  ASSERT_TRUE(bench.engine->step());
  auto greedy = scored_request(2, long_prompt(500), 0);
  greedy.generation.choices = 128;
  greedy.generation.logprobs = 20;
  bench.engine->submit(greedy);
  bench.engine->submit(token_request(3, long_prompt(20), 2));
  for (size_t step = 1; !bench.sink[2].finished; ++step) {
    ASSERT_TRUE(bench.engine->step());
    EXPECT_EQ(bench.sink[1].choices.at(0).tokens.size(), std::min<size_t>(step + 1, 200));
    for (const auto& entry : bench.backend.last_step) EXPECT_LE(entry.logits_rows, 24u);
  }
  EXPECT_TRUE(bench.sink[3].finished);
  EXPECT_EQ(bench.sink[2].choices.at(127).echo_logprobs.size(), 500u);
  bench.run();
}

TEST(Echo, APromptThatIsOnlyToldIsToldInPiecesWhileOthersGoOn) {
  Bench bench(hashing_model(-100), {.context_tokens = 40'000});
  auto request = echo_request(1, long_prompt(40'000), 0);
  request.generation.choices = 3;
  bench.engine->submit(request);
  EXPECT_TRUE(bench.sink[1].accepted);
  EXPECT_TRUE(bench.sink[1].choices.empty()) << "told before the first step";
  bench.engine->submit(token_request(2, letters("abc"), 100));
  size_t steps = 0, told = 0;
  while (!bench.sink[1].finished) {
    ASSERT_TRUE(bench.engine->has_work());
    ASSERT_TRUE(bench.engine->step());
    ++steps;
    size_t now_told = 0;
    for (const auto& [index, choice] : bench.sink[1].choices) now_told += choice.echo_tokens.size();
    EXPECT_GT(now_told, told);
    EXPECT_LE(now_told - told, 16'384u);
    EXPECT_EQ(bench.sink[2].choices.at(0).tokens.size(), steps);
    told = now_told;
  }
  for (uint16_t choice = 0; choice < 3; ++choice) {
    EXPECT_EQ(bench.sink[1].choices.at(choice).echo_tokens, request.prompt.tokens);
    EXPECT_EQ(bench.sink[1].choices.at(choice).reason, FinishReason::kLength);
  }
  EXPECT_EQ(bench.sink[1].last.usage.prompt_tokens, 40'000u);
  bench.run();
}

TEST(Echo, APromptThatIsOnlyToldCanBeCancelled) {
  Bench bench(hashing_model(-100), {.context_tokens = 40'000});
  bench.engine->submit(echo_request(1, long_prompt(40'000), 0));
  ASSERT_TRUE(bench.engine->step());
  bench.engine->cancel(1);
  EXPECT_EQ(bench.sink[1].choices.at(0).reason, FinishReason::kCancelled);
  EXPECT_LT(bench.sink[1].choices.at(0).echo_tokens.size(), 40'000u);
  EXPECT_FALSE(bench.engine->has_work());
  bench.sink.told.clear();
  EXPECT_EQ(bench.submit_and_run(token_request(1, letters("abc"), 2)).choices.at(0).tokens.size(), 2u);
}

TEST(Echo, APreemptedPromptIsToldOnce) {
  Bench bench(hashing_model(-100), {.blocks = 12, .block_tokens = 4, .batch_tokens_max = 8});
  auto request = scored_request(1, long_prompt(40), 3);
  request.service_class = ipc::Class::kBatch;
  bench.engine->submit(request);
  ASSERT_TRUE(bench.engine->step());
  ASSERT_TRUE(bench.engine->step());
  auto vip = token_request(2, long_prompt(30), 5);
  vip.service_class = ipc::Class::kVip;
  bench.engine->submit(vip);
  bench.run();
  EXPECT_EQ(bench.engine->gauges().preemptions_total, 1u);
  expect_scores(bench.sink[1].choices.at(0), long_prompt(40), hashing_model(-100));
  EXPECT_EQ(bench.sink[1].choices.at(0).tokens.size(), 3u);
}

TEST(Echo, AResumedChoiceHearsNoneAndTheOthersDo) {
  Bench bench(hashing_model(-100));
  auto request = scored_request(1, long_prompt(12), 4);
  request.generation.choices = 4;
  request.resumed = {{0, {letter('d')}}, {2, {}}};
  const auto& told = bench.submit_and_run(request);
  EXPECT_TRUE(told.choices.at(0).echo_tokens.empty());
  EXPECT_EQ(told.choices.at(0).first_index, 1u);
  for (uint16_t choice = 1; choice < 4; ++choice) {
    expect_scores(told.choices.at(choice), long_prompt(12), hashing_model(-100));
    EXPECT_EQ(told.choices.at(choice).tokens.size(), 4u);
  }
  EXPECT_EQ(bench.backend.tokens_run,
            12u + 3 * 3 + 13 + 2);  // one prompt for three choices, one for choice 0
}

TEST(Echo, AStopStringInsideItEndsNothing) {
  Bench bench(reciting_model(4, letters("xyzstop")));
  auto request = echo_request(1, letters("stop"), 50);
  request.generation.stop = {"stop", "px"};
  const auto& told = bench.submit_and_run(request);
  EXPECT_EQ(told.choices.at(0).echo_text(), "stop");
  EXPECT_EQ(told.choices.at(0).text, "xyz");
}

TEST(Echo, ThatCannotBeScoredIsANumericFault) {
  const auto model = [](std::span<const TokenId> history, std::span<float> logits) {
    hashing_model(-100)(history, logits);
    if (history.size() == 5) logits[3] = std::numeric_limits<float>::quiet_NaN();
  };
  Bench bench(model);
  auto request = scored_request(1, long_prompt(10), 2);
  request.generation.choices = 3;
  const auto& told = bench.submit_and_run(request);
  EXPECT_TRUE(told.failed);
  EXPECT_EQ(told.failure.code, Code::kNumericFault);
  EXPECT_EQ(told.choices.at(2).echo_tokens.size(), 5u);
  EXPECT_EQ(bench.engine->gauges().kv_blocks_free, bench.engine->gauges().kv_blocks_total);
}

TEST(Echo, OfAPromptThatTheKvCacheCannotHoldIsRefusedWhenItIsToBeScored) {
  Bench bench(hashing_model(-100), {.blocks = 2, .block_tokens = 4});
  EXPECT_EQ(bench.submit_and_run(scored_request(1, long_prompt(9), 0)).failure.code, Code::kContextLength);
  EXPECT_TRUE(bench.submit_and_run(scored_request(2, long_prompt(8), 0)).finished);
}

}  // namespace
}  // namespace deepserve::runner::testing
