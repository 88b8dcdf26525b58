// Backends that draw by themselves: what they are asked for, and that answers do not tell who drew.
#include <gtest/gtest.h>

#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

Bench drawn_bench(Model model, Speculation speculation = Speculation::kOff) {
  return Bench(std::move(model), {}, {.speculation = speculation}, Device::kDraws);
}

TEST(DrawingBackend, IsAskedForTokensAndNoLogitLeavesIt) {
  Bench bench = drawn_bench(hashing_model());
  auto request = token_request(1, letters("abc"), 20);
  request.generation.choices = 3;
  request.generation.logprobs = 4;
  request.generation.repetition_penalty = 1.2f;
  request.generation.logit_bias = {{letter('x'), 1.0f}, {letter('c'), -1.0f}, {letter('x'), 0.5f}};
  request.generation.tokens_min = 5;
  const Told& told = bench.submit_and_run(request);
  EXPECT_TRUE(told.finished);
  EXPECT_EQ(told.choices.size(), 3u);
  EXPECT_GT(bench.drawing.rows_drawn, 5u);
  EXPECT_EQ(bench.drawing.rows_told, 0u);
}

TEST(DrawingBackend, TellsTheLogitsThatScoreAPrompt) {
  Bench bench = drawn_bench(hashing_model());
  auto request = token_request(1, letters("abcdef"), 8);
  request.generation.echo = true;
  request.generation.logprobs = 2;
  request.generation.ignore_eos = true;
  EXPECT_TRUE(bench.submit_and_run(request).finished);
  EXPECT_EQ(bench.drawing.rows_told, 6u);
  EXPECT_EQ(bench.drawing.rows_drawn, 7u);
}

TEST(DrawingBackend, DraftsAreDrawnWhereNothingDependsOnTheOnesBefore) {
  auto request = token_request(1, letters("abcabcabcabcabc"), 40);
  request.generation.temperature = 0;
  request.generation.tokens_min = 40;
  std::vector<TokenId> answer;
  for (int i = 0; i < 12; ++i) answer.insert(answer.end(), {letter('a'), letter('b'), letter('c')});
  Bench plain = drawn_bench(reciting_model(15, answer), Speculation::kAlways);
  EXPECT_TRUE(plain.submit_and_run(request).finished);
  EXPECT_GT(plain.drawing.rows_drawn, plain.backend.steps);
  EXPECT_EQ(plain.drawing.rows_told, 0u);
  request.generation.presence_penalty = 0.1f;
  Bench penalised = drawn_bench(reciting_model(15, answer), Speculation::kAlways);
  EXPECT_TRUE(penalised.submit_and_run(request).finished);
  EXPECT_GT(penalised.drawing.rows_told, 0u);
  EXPECT_GT(penalised.drawing.rows_drawn, 0u) << "of what was not drafted";
}

TEST(DrawingBackend, AConstraintsMaskGoesAlongAndOneThatAllowsNothingIsTheRequestsEnd) {
  auto request = token_request(1, letters("abc"), 20);
  request.generation.constraint = {ipc::ConstraintKind::kGrammar, "root ::= \"ab\" [x-z]+"};
  Bench bench = drawn_bench(hashing_model());
  EXPECT_TRUE(bench.submit_and_run(request).finished);
  EXPECT_EQ(bench.sink[1].choices[0].text.substr(0, 2), "ab");
  EXPECT_EQ(bench.drawing.rows_told, 0u);
  request.request = 2;
  request.generation.constraint.text = "root ::= \"a\" \"?\"";  // which no token has
  EXPECT_TRUE(bench.submit_and_run(request).failed);
  EXPECT_EQ(bench.sink[2].failure.code, Code::kInvalidRequest);
  EXPECT_EQ(bench.drawing.rows_told, 1u);
}

}  // namespace
}  // namespace deepserve::runner::testing
