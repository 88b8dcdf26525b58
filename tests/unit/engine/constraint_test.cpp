// Answers that are bound by a grammar, on the way through the engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

using ipc::ConstraintKind;
using ipc::FinishReason;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

ipc::Submit bound_request(ipc::RequestId id, std::string grammar, uint32_t tokens_max = ipc::kRestOfContext) {
  auto request = token_request(id, letters("abc"), tokens_max);
  request.generation.constraint = {ConstraintKind::kGrammar, std::move(grammar)};
  request.generation.temperature = 1;
  return request;
}

TEST(Constraint, EveryChoiceOfEverySeedFollowsTheGrammar) {
  Bench bench(hashing_model());
  auto request = bound_request(0, "root ::= (\"ab\" [x-z]{1,3} \" \"){2,4}");
  request.generation.choices = 4;
  const std::regex expected("(ab[x-z]{1,3} ){2,4}");
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    ++request.request;
    request.generation.seed = seed;
    const auto& told = bench.submit_and_run(request);
    ASSERT_EQ(told.choices.size(), 4u) << told.failure.message;
    for (const auto& [number, choice] : told.choices) {
      EXPECT_TRUE(std::regex_match(choice.text, expected)) << choice.text;
      EXPECT_EQ(choice.reason, FinishReason::kStop);
    }
  }
}

TEST(Constraint, WhatAModelWantsToSayIsLeftAloneWhereTheGrammarAllowsIt) {
  const std::string answer = "hello";
  Bench bench(reciting_model(3, letters(answer)));
  auto request = bound_request(1, "root ::= [a-z]+");
  request.generation.temperature = 0;
  const auto& told = bench.submit_and_run(request);
  EXPECT_EQ(told.choices.at(0).text, answer);
  EXPECT_EQ(told.choices.at(0).tokens.back(), kEos);
}

TEST(Constraint, AnAnswerThatNothingCanFollowEndsWithoutAnEndToken) {
  Bench bench(hashing_model(-100));
  const auto& told = bench.submit_and_run(bound_request(1, "root ::= \"xyz\""));
  EXPECT_THAT(told.choices.at(0).tokens, ElementsAre(letter('x'), letter('y'), letter('z')));
  EXPECT_EQ(told.choices.at(0).text, "xyz");
  EXPECT_EQ(told.choices.at(0).reason, FinishReason::kStop);
  EXPECT_EQ(told.last.usage.completion_tokens, 3u);
}

TEST(Constraint, TextThatAStopStringHeldBackComesWithTheEnd) {
  Bench bench(hashing_model(-100));
  auto request = bound_request(1, "root ::= \"xyz\"");
  request.generation.stop = {"yzz"};
  EXPECT_EQ(bench.submit_and_run(request).choices.at(0).text, "xyz");
}

TEST(Constraint, TheLengthCutsItAsItCutsEveryAnswer) {
  Bench bench(hashing_model());
  const auto& told = bench.submit_and_run(bound_request(1, "root ::= \"x\" [a-z]{20}", 5));
  EXPECT_EQ(told.choices.at(0).tokens.size(), 5u);
  EXPECT_EQ(told.choices.at(0).reason, FinishReason::kLength);
}

TEST(Constraint, AResumedAnswerGoesOnWhereItWas) {
  Bench bench(hashing_model());
  auto request = bound_request(1, "root ::= (\"ab\" | \"a\" root \"b\"){3} [x-z]{8}");
  request.generation.seed = 5;
  const auto whole = bench.submit_and_run(request).choices.at(0);
  ASSERT_GT(whole.tokens.size(), 8u);
  for (size_t done = 1; done <= whole.tokens.size(); ++done) {
    request.request = 1 + done;
    request.resumed = {{0, {whole.tokens.begin(), whole.tokens.begin() + static_cast<ptrdiff_t>(done)}}};
    const auto& told = bench.submit_and_run(request);
    ASSERT_TRUE(told.finished) << told.failure.message;
    const auto& rest = told.choices.at(0);
    EXPECT_EQ(rest.tokens,
              std::vector<TokenId>(whole.tokens.begin() + static_cast<ptrdiff_t>(done), whole.tokens.end()));
    EXPECT_EQ(rest.reason, FinishReason::kStop);
  }
}

TEST(Constraint, WhatCannotBeFollowedIsRefusedBeforeAcceptance) {
  Bench bench(hashing_model());
  auto request = bound_request(1, "root ::= root \"a\"");
  auto& grammar = bench.submit_and_run(request);
  EXPECT_EQ(grammar.failure.code, Code::kNotSupported);
  EXPECT_THAT(grammar.failure.message, HasSubstr("left-recursive"));
  EXPECT_FALSE(grammar.accepted);
  request.request = 2;
  request.generation.constraint = {ConstraintKind::kJsonSchema, R"({"not":{}})"};
  auto& schema = bench.submit_and_run(request);
  EXPECT_EQ(schema.failure.code, Code::kNotSupported);
  EXPECT_THAT(schema.failure.message, HasSubstr("schema keyword 'not' at #"));
  EXPECT_FALSE(schema.accepted);
  EXPECT_TRUE(bench.submit_and_run(bound_request(3, "root ::= \"a\"")).finished);
}

TEST(Constraint, AnAnswerThatCannotGoOnFailsAndSaysWhy) {
  Bench bench(hashing_model());
  auto request = bound_request(1, "");
  request.generation.constraint = {ConstraintKind::kJsonObject, ""};  // the fake vocabulary has no braces
  EXPECT_THAT(bench.submit_and_run(request).failure.message, HasSubstr("no token of the model's vocabulary"));
  request = bound_request(2, "root ::= \"a\" \"b\"?");
  request.resumed = {{0, letters("c")}};
  EXPECT_THAT(bench.submit_and_run(request).failure.message, HasSubstr("does not follow its grammar"));
  EXPECT_FALSE(bench.engine->has_work());
}

TEST(Constraint, StopTokensEndItOnlyWhereItIsComplete) {
  Bench bench(hashing_model(-100));
  auto request = bound_request(1, "root ::= [a-z] [a-z] [a-z]+");
  for (char value = 'a'; value <= 'y'; ++value) request.generation.stop_tokens.push_back(letter(value));
  request.generation.logit_bias = {{kPairAb, -100.0f}};
  const auto& told = bench.submit_and_run(request);
  EXPECT_GE(told.choices.at(0).tokens.size(), 4u);
  EXPECT_EQ(told.choices.at(0).text.substr(0, 3), "zzz");
}

TEST(Constraint, AFulfilledConstraintHasTheLastWordOverTokensMin) {
  Bench bench(hashing_model());
  auto request = bound_request(1, "root ::= \"xy\"");
  request.generation.tokens_min = 10;
  const auto& told = bench.submit_and_run(request);
  EXPECT_EQ(told.choices.at(0).text, "xy");
  EXPECT_EQ(told.choices.at(0).reason, FinishReason::kStop);
}

}  // namespace
}  // namespace deepserve::runner::testing
