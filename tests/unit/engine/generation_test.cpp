// What becomes of the tokens that a model chooses: text, ends, logprobs, choices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

using ipc::FinishReason;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint32_t kPrompt = 3;

ipc::Submit abc_request(uint32_t tokens_max = ipc::kRestOfContext) {
  return token_request(1, letters("abc"), tokens_max);
}

Bench reciting(std::vector<TokenId> answer) {
  return Bench(reciting_model(kPrompt, std::move(answer)));
}

TEST(Generation, EndsAtEosWhoseIdIsToldAndWhoseTextIsNot) {
  auto bench = reciting(letters("hello"));
  const auto& told = bench.submit_and_run(abc_request());
  EXPECT_EQ(told.choices.at(0).text, "hello");
  EXPECT_EQ(told.choices.at(0).reason, FinishReason::kStop);
  EXPECT_EQ(told.choices.at(0).tokens.back(), kEos);
  EXPECT_EQ(told.last.usage.prompt_tokens, 3u);
  EXPECT_EQ(told.last.usage.completion_tokens, 6u);
  EXPECT_EQ(told.acceptance.prompt_tokens, 3u);
}

TEST(Generation, EndsWithLengthAtTokensMaxAndAtTheEndOfTheContext) {
  Bench bench(hashing_model(-100));
  EXPECT_EQ(bench.submit_and_run(abc_request(5)).choices.at(0).tokens.size(), 5u);
  EXPECT_EQ(bench.sink[1].choices.at(0).reason, FinishReason::kLength);
  Bench small(hashing_model(-100), {.context_tokens = 16});
  EXPECT_EQ(small.submit_and_run(abc_request(1000)).choices.at(0).tokens.size(), 13u);
  EXPECT_EQ(small.sink[1].choices.at(0).reason, FinishReason::kLength);
}

TEST(Generation, IgnoreEosGoesOnAfterIt) {
  auto bench = reciting({kEos, letter('x'), kEos, letter('y')});
  auto request = abc_request(6);
  request.generation.ignore_eos = true;
  const auto& told = bench.submit_and_run(request);
  EXPECT_EQ(told.choices.at(0).text, "xy");
  EXPECT_EQ(told.choices.at(0).tokens.size(), 6u);
  EXPECT_EQ(told.choices.at(0).reason, FinishReason::kLength);
}

TEST(Generation, StopTokensEndItWithoutTheirText) {
  auto bench = reciting(letters("one two"));
  auto request = abc_request();
  request.generation.stop_tokens = {28};
  const auto& told = bench.submit_and_run(request);
  EXPECT_EQ(told.choices.at(0).text, "one");
  EXPECT_EQ(told.choices.at(0).reason, FinishReason::kStop);
}

TEST(Generation, BeforeTokensMinNoEndTokenIsChosenAndNoStopStringEnds) {
  auto bench = reciting(letters("a"));
  auto request = abc_request();
  request.generation.tokens_min = 4;
  const auto& told = bench.submit_and_run(request);
  EXPECT_EQ(told.choices.at(0).tokens.size(), 5u);  // four that are no EOS, then EOS
  EXPECT_EQ(told.choices.at(0).reason, FinishReason::kStop);

  auto stopping = reciting(letters("xaxbxc"));
  request.generation.stop = {"x"};
  EXPECT_EQ(stopping.submit_and_run(request).choices.at(0).text, "xaxb");
}

TEST(Generation, StopStringsAreFoundAcrossTokensAndNotDelivered) {
  auto bench = reciting(letters("well stop now"));
  auto request = abc_request();
  request.generation.stop = {"stop"};
  const auto& told = bench.submit_and_run(request);
  EXPECT_EQ(told.choices.at(0).text, "well ");
  EXPECT_EQ(told.choices.at(0).tokens, letters("well stop"));
  EXPECT_EQ(told.choices.at(0).reason, FinishReason::kStop);
}

TEST(Generation, AStopStringInsideATokenEndsTheTextInsideIt) {
  auto bench = reciting({letter('x'), kPairAb, letter('y')});
  auto request = abc_request();
  request.generation.stop = {"b"};
  EXPECT_EQ(bench.submit_and_run(request).choices.at(0).text, "xa");
}

TEST(Generation, AStopStringMayEndInsideACharactersTokensAndBeAnyOfSixteen) {
  std::vector<TokenId> answer = letters("ab");
  answer.insert(answer.end(), {kEuro0, kEuro0 + 1, kEuro0 + 2, letter('c'), letter('d')});
  auto bench = reciting(answer);
  auto request = abc_request();
  for (char first = 'e'; first < 'e' + 15; ++first) request.generation.stop.push_back({first, first});
  request.generation.stop.push_back(
      "\xe2\x82\xac"
      "c");
  ASSERT_EQ(request.generation.stop.size(), 16u);
  const auto& told = bench.submit_and_run(request);
  EXPECT_EQ(told.choices.at(0).text, "ab");
  EXPECT_EQ(told.choices.at(0).tokens.size(), 6u);
  EXPECT_EQ(told.choices.at(0).reason, FinishReason::kStop);
}

TEST(Generation, BeforeTokensMinStopTokensAreNotChosenEitherButAnIgnoredEosIs) {
  auto bench = reciting({letter('x'), letter('x'), kEos, letter('y')});
  auto request = abc_request(4);
  request.generation.tokens_min = 2;
  request.generation.stop_tokens = {letter('x')};
  const auto& told = bench.submit_and_run(request);
  EXPECT_EQ(told.choices.at(0).tokens.size(), 3u);  // two others, then EOS
  EXPECT_THAT(told.choices.at(0).tokens, ::testing::Not(::testing::Contains(letter('x'))));

  auto ignoring = reciting({kEos, letter('y')});
  request.generation.stop_tokens.clear();
  request.generation.ignore_eos = true;
  EXPECT_EQ(ignoring.submit_and_run(request).choices.at(0).tokens.at(0), kEos);
}

TEST(Generation, TokenIdsAreToldWhileTheirTextIsHeldBack) {
  auto bench = reciting({kEuro0, kEuro0 + 1, kEuro0 + 2});
  bench.engine->submit(abc_request());
  ASSERT_TRUE(bench.engine->step());
  ASSERT_TRUE(bench.engine->step());
  EXPECT_EQ(bench.sink[1].choices.at(0).tokens.size(), 2u);
  EXPECT_EQ(bench.sink[1].choices.at(0).text, "");
  bench.run();
  EXPECT_EQ(bench.sink[1].choices.at(0).text, "\xe2\x82\xac");
}

TEST(Generation, TextThatIsHeldBackAtTheEndIsDelivered) {
  auto bench = reciting(letters("a st"));
  auto request = abc_request();
  request.generation.stop = {"stop"};
  EXPECT_EQ(bench.submit_and_run(request).choices.at(0).text, "a st");
  auto cut = reciting({letter('a'), kEuro0, kEuro0 + 1, kEuro0 + 2});
  EXPECT_EQ(cut.submit_and_run(abc_request(2)).choices.at(0).text, "a\xef\xbf\xbd");
}

TEST(Generation, LogprobsNameTheChosenTokenAndTheBestAlternatives) {
  auto bench = reciting(letters("d"));
  auto request = abc_request();
  request.generation.logprobs = 2;
  request.generation.logit_bias = {{letter('z'), 50.0f}};  // decides, and leaves the logprobs alone
  request.generation.tokens_max = 1;
  const auto& told = bench.submit_and_run(request);
  const auto& entry = told.choices.at(0).logprobs.at(0);
  ASSERT_EQ(entry.size(), 3u);
  const double total = std::log(std::exp(10.0) + kVocabulary - 1);
  EXPECT_EQ(entry[0].text, "z");
  EXPECT_NEAR(entry[0].logprob, 0 - total, 1e-4);
  EXPECT_EQ(entry[1].text, "d");
  EXPECT_NEAR(entry[1].logprob, 10 - total, 1e-4);
  EXPECT_EQ(entry[2].text, "<bos>");
}

TEST(Generation, EachOfNChoicesDrawsItsOwnAndAllAreCountedInOneUsage) {
  Bench bench(hashing_model(-100));
  auto request = abc_request(8);
  request.generation.temperature = 1;
  request.generation.choices = 5;
  const auto& told = bench.submit_and_run(request);
  ASSERT_EQ(told.choices.size(), 5u);
  EXPECT_NE(told.choices.at(0).tokens, told.choices.at(1).tokens);
  EXPECT_EQ(told.last.usage.prompt_tokens, 3u);
  EXPECT_EQ(told.last.usage.completion_tokens, 40u);
  EXPECT_EQ(bench.backend.tokens_run, 3u + 5 * 7);  // one prefill for all
  EXPECT_EQ(bench.engine->gauges().kv_blocks_free, bench.engine->gauges().kv_blocks_total);
}

TEST(Generation, MoreChoicesThanSeatsTakeTurnsAndStillDrawTheSame) {
  auto request = abc_request(8);
  request.generation.temperature = 1;
  request.generation.choices = 5;
  Bench roomy(hashing_model());
  Bench tight(hashing_model(), {}, {.sequences_max = 2});
  roomy.submit_and_run(request);
  tight.submit_and_run(request);
  for (uint16_t choice = 0; choice < 5; ++choice) {
    EXPECT_EQ(roomy.sink[1].choices.at(choice).tokens, tight.sink[1].choices.at(choice).tokens) << choice;
  }
}

TEST(Generation, TheSeedDecidesAndAReplayDrawsTheSame) {
  auto request = abc_request(20);
  request.generation.temperature = 1;
  request.generation.seed = 11;
  Bench first(hashing_model());
  Bench second(hashing_model());
  EXPECT_EQ(first.submit_and_run(request).choices.at(0).tokens,
            second.submit_and_run(request).choices.at(0).tokens);
  request.request = 2;
  request.generation.seed = 12;
  EXPECT_NE(first.submit_and_run(request).choices.at(0).tokens, second.sink[1].choices.at(0).tokens);
}

TEST(Generation, AHundredAndTwentyEightChoicesOfOneSeedAreTheSameAgain) {
  auto request = abc_request(6);
  request.generation.temperature = 1;
  request.generation.seed = 3;
  request.generation.choices = 128;
  const FakeBackend::Shape shape{.blocks = 400, .batch_tokens_max = 128};
  Bench first(hashing_model(), shape, {.sequences_max = 128});
  Bench second(hashing_model(), shape, {.sequences_max = 7});
  first.submit_and_run(request);
  second.submit_and_run(request);
  std::set<std::vector<TokenId>> answers;
  for (uint16_t choice = 0; choice < 128; ++choice) {
    EXPECT_EQ(first.sink[1].choices.at(choice).tokens, second.sink[1].choices.at(choice).tokens) << choice;
    answers.insert(first.sink[1].choices.at(choice).tokens);
  }
  EXPECT_GT(answers.size(), 100u);
  EXPECT_EQ(first.engine->gauges().kv_blocks_free, first.engine->gauges().kv_blocks_total);
}

TEST(Generation, PenaltiesChangeWhatAModelThatRepeatsItselfSays) {
  Bench bench([](std::span<const TokenId>, std::span<float> logits) {
    std::ranges::fill(logits, 0.0f);
    logits[letter('a')] = 1.0f;
    logits[letter('b')] = 0.75f;
  });
  auto request = abc_request(4);
  EXPECT_EQ(bench.submit_and_run(request).choices.at(0).text, "aaaa");
  request.request = 2;
  request.prompt.tokens = letters("xyz");
  request.generation.frequency_penalty = 0.5f;  // a 1, b .75, a .5, b .25 against it
  EXPECT_EQ(bench.submit_and_run(request).choices.at(0).text, "abab");
}

}  // namespace
}  // namespace deepserve::runner::testing
