// Steps that are started before the one before them is over: that they are, when they are not, and that
// nobody can tell from what they give.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "ipc/base/clock.h"
#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAreArray;

Bench ahead_bench(Model model, EngineOptions options = {}, const FakeBackend::Shape& shape = {}) {
  return Bench(std::move(model), shape, options, Device::kRunsAhead);
}

ipc::Submit endless(ipc::RequestId id, std::string_view prompt, uint32_t tokens) {
  auto request = token_request(id, letters(prompt), tokens);
  request.generation.ignore_eos = true;
  return request;
}

uint32_t blocks_in_use(const Bench& bench) {
  const auto gauges = bench.engine->gauges();
  return gauges.kv_blocks_total - gauges.kv_blocks_free;
}

// Until `tokens` of the request's answer were told.
void step_until(Bench& bench, ipc::RequestId id, size_t tokens) {
  while (bench.sink[id].choices[0].tokens.size() < tokens) ASSERT_TRUE(bench.engine->step());
}

TEST(RunAhead, EachStepOfDecodingIsStartedBeforeTheOneBeforeItIsTold) {
  Bench bench = ahead_bench(hashing_model());
  bench.engine->submit(endless(1, "abc", 30));
  bench.engine->submit(endless(2, "xy", 30));
  step_until(bench, 1, 1);
  for (size_t told = 1; told < 29; ++told) {
    EXPECT_EQ(bench.sink[1].choices[0].tokens.size(), told);
    EXPECT_EQ(bench.drawing.under_way(), 1u);
    ASSERT_TRUE(bench.engine->step());
  }
  bench.run();
  EXPECT_EQ(bench.drawing.steps_ahead(), 29u);
  EXPECT_EQ(bench.drawing.under_way(), 0u);
}

TEST(RunAhead, AnswersAreThoseOfStepsThatComeOneByOne) {
  Bench ahead = ahead_bench(hashing_model());
  Bench one_by_one = ahead_bench(hashing_model(), {.run_ahead = false});
  for (Bench* bench : {&ahead, &one_by_one}) {
    for (ipc::RequestId id = 1; id <= 6; ++id) {
      auto request = token_request(id, letters("abcdef"), static_cast<uint32_t>(10 * id));
      request.generation.temperature = 0.8f;
      request.generation.seed = id;
      request.generation.logprobs = static_cast<uint8_t>(id % 3);
      request.generation.tokens_min = static_cast<uint32_t>(id);
      if (id == 2) request.generation.stop = {"e", "qu"};
      bench->engine->submit(request);
    }
    bench->run();
  }
  for (ipc::RequestId id = 1; id <= 6; ++id) {
    EXPECT_EQ(ahead.sink[id].choices[0].text, one_by_one.sink[id].choices[0].text);
    EXPECT_EQ(ahead.sink[id].choices[0].tokens, one_by_one.sink[id].choices[0].tokens);
    EXPECT_EQ(ahead.sink[id].choices[0].reason, one_by_one.sink[id].choices[0].reason);
  }
  EXPECT_GT(ahead.drawing.steps_ahead(), 20u);
  EXPECT_EQ(one_by_one.drawing.steps_ahead(), 0u);
}

TEST(RunAhead, WhatComesToItsLimitIsNotRunAgain) {
  Bench bench = ahead_bench(hashing_model());
  bench.submit_and_run(endless(1, "abc", 10));
  EXPECT_EQ(bench.backend.tokens_run, 3u + 9u);
}

TEST(RunAhead, AnEndThatNobodyCouldKnowCostsOneRowAndIsToldOnce) {
  Bench bench = ahead_bench(reciting_model(3, letters("hello")));
  const Told& told = bench.submit_and_run(token_request(1, letters("abc"), 50));
  EXPECT_EQ(told.choices.at(0).text, "hello");
  EXPECT_EQ(told.choices.at(0).tokens.size(), 6u);  // its end is one
  EXPECT_EQ(told.terminal_outcomes, 1u);
  EXPECT_EQ(bench.backend.tokens_run, 3u + 5u + 1u);
  EXPECT_EQ(blocks_in_use(bench), 0u);
}

TEST(RunAhead, StepsComeOneByOneWhereATokenMustBeKnownBeforeTheNextIsAskedFor) {
  std::vector<ipc::Submit> requests(4, token_request(2, letters("abcabcabc"), 20));
  requests[0].generation.constraint = {ipc::ConstraintKind::kGrammar, "root ::= [a-z]{30}"};
  requests[1].generation.frequency_penalty = 0.5f;
  requests[2].generation.echo = true;
  requests[2].generation.logprobs = 1;
  requests[3].work = ipc::Work::kEmbed;
  for (const auto& request : requests) {
    Bench bench = ahead_bench(hashing_model(-100));
    bench.engine->submit(request);
    ASSERT_TRUE(bench.engine->step());
    EXPECT_EQ(bench.drawing.under_way(), 0u);
  }
  Bench bench = ahead_bench(hashing_model(-100));
  bench.engine->submit(endless(1, "xyz", 60));
  bench.engine->submit(requests[1]);
  while (!bench.sink[2].finished) ASSERT_TRUE(bench.engine->step());
  EXPECT_EQ(bench.drawing.steps_ahead(), 0u);
  bench.run();
  EXPECT_GT(bench.drawing.steps_ahead(), 30u) << "once the other has ended";
}

TEST(RunAhead, ChoicesBeginWithWhatTheirFirstDrawsAndThenRunAhead) {
  Bench bench = ahead_bench(hashing_model());
  auto request = endless(1, "abc", 20);
  request.generation.choices = 3;
  request.generation.temperature = 0.9f;
  const Told& told = bench.submit_and_run(request);
  EXPECT_GT(bench.drawing.steps_ahead(), 15u);
  auto one_by_one = Bench(hashing_model(), {}, {}, Device::kGivesLogits);
  EXPECT_EQ(one_by_one.submit_and_run(request).choices.at(2).tokens, told.choices.at(2).tokens);
}

TEST(RunAhead, DraftsAreCheckedOneByOneWhileTheyComeTrue) {
  std::vector<TokenId> answer;
  for (int i = 0; i < 12; ++i) answer.insert(answer.end(), {letter('a'), letter('b'), letter('c')});
  Bench bench = ahead_bench(reciting_model(15, answer), {.speculation = Speculation::kAlways});
  bench.submit_and_run(token_request(1, letters("abcabcabcabcabc"), 30));
  EXPECT_EQ(bench.drawing.steps_ahead(), 0u);
  EXPECT_GT(bench.engine->gauges().draft_tokens_accepted_total, 0u);
}

TEST(RunAhead, DraftsThatPayAreFoundAlthoughStepsRunAhead) {
  std::vector<TokenId> answer = letters("the quick brown fox jumps over lazy dogs");
  for (int i = 0; i < 30; ++i) answer.insert(answer.end(), {letter('a'), letter('b'), letter('c')});
  Bench bench = ahead_bench(reciting_model(3, answer), {.speculation = Speculation::kAuto});
  bench.drawing.step_time = std::chrono::milliseconds(4);
  const Told& told = bench.submit_and_run(token_request(1, letters("xyz"), 120));
  answer.resize(120);
  EXPECT_EQ(told.choices.at(0).tokens, answer);
  EXPECT_GT(bench.engine->gauges().draft_tokens_accepted_total, 30u);
  EXPECT_GT(bench.drawing.steps_ahead(), 20u);
}

// The backend CHECKs that nothing else is under way beside a step that gives values.
TEST(RunAhead, WhatGivesMoreThanTokensWaitsForTheStepUnderWayAndIsMeasuredByItself) {
  Bench bench = ahead_bench(hashing_model());
  bench.drawing.step_time = std::chrono::milliseconds(4);
  bench.engine->submit(endless(1, "abc", 60));
  bench.engine->submit(endless(2, "abd", 12));
  step_until(bench, 1, 10);
  const double alone = bench.engine->gauges().step_fixed_seconds;
  for (ipc::RequestId id = 3; id < 23; ++id) {
    auto request = token_request(id, letters("abcdefghijkl"), 1);
    if (id % 2 == 0) {
      request.work = ipc::Work::kEmbed;
    } else {
      request.generation.echo = true;
      request.generation.logprobs = 1;
    }
    bench.engine->submit(request);
    ASSERT_TRUE(bench.engine->step());
    ASSERT_TRUE(bench.engine->step());
  }
  bench.run();
  EXPECT_EQ(bench.sink[1].choices[0].tokens.size(), 60u);
  EXPECT_EQ(bench.sink[2].choices[0].tokens.size(), 12u);
  for (ipc::RequestId id = 3; id < 23; ++id) EXPECT_TRUE(bench.sink[id].finished) << id;
  EXPECT_GT(bench.drawing.steps_ahead(), 10u);
  EXPECT_LT(bench.engine->gauges().prefill_tokens_per_second, 20 * 12 / 4e-3)
      << "measured as if it took no time";
  EXPECT_LT(bench.engine->gauges().step_fixed_seconds, 1.6 * alone) << "measured with what came after it";
}

TEST(RunAhead, WhatIsCancelledWhileAStepRunsIsToldAtOnceAndNoMoreOfIt) {
  Bench bench = ahead_bench(hashing_model());
  bench.engine->submit(endless(1, "abcdef", 100));
  bench.engine->submit(endless(2, "ghi", 12));
  step_until(bench, 1, 3);
  ASSERT_EQ(bench.drawing.under_way(), 1u);
  bench.engine->cancel(1);
  EXPECT_EQ(bench.sink[1].last.reason, ipc::FinishReason::kCancelled);
  bench.sink.told.erase(1);
  bench.engine->submit(endless(1, "jkl", 5));  // another one, that has its number
  bench.run();
  EXPECT_EQ(bench.sink[1].choices[0].tokens.size(), 5u);
  EXPECT_EQ(bench.sink[2].choices[0].tokens.size(), 12u);
  EXPECT_EQ(blocks_in_use(bench), 0u);
}

TEST(RunAhead, WhenAllIsCancelledTheStepUnderWayIsStillWaitedFor) {
  Bench bench = ahead_bench(hashing_model());
  bench.engine->submit(endless(1, "abcdef", 100));
  step_until(bench, 1, 3);
  bench.engine->cancel(1);
  EXPECT_TRUE(bench.engine->has_work());
  bench.run();
  EXPECT_EQ(bench.drawing.under_way(), 0u);
  EXPECT_EQ(bench.submit_and_run(endless(2, "abc", 4)).choices.at(0).tokens.size(), 4u);
}

TEST(RunAhead, ARowAtFaultFailsItsRequestWhileTheNextStepIsUnderWay) {
  const Model sound = hashing_model();
  const Model model = [sound](std::span<const TokenId> history, std::span<float> logits) {
    sound(history, logits);
    if (history[0] == letter('q') && history.size() == 8) {
      logits[7] = std::numeric_limits<float>::quiet_NaN();
    }
  };
  Bench bench = ahead_bench(model);
  bench.engine->submit(endless(1, "abc", 20));
  bench.engine->submit(endless(2, "qbc", 20));
  bench.run();
  EXPECT_EQ(bench.sink[2].failure.code, Code::kNumericFault);
  EXPECT_EQ(bench.sink[2].choices[0].tokens.size(), 5u);
  auto alone = Bench(sound, {}, {}, Device::kGivesLogits);
  EXPECT_EQ(bench.sink[1].choices[0].tokens, alone.submit_and_run(endless(1, "abc", 20)).choices[0].tokens);
  EXPECT_EQ(blocks_in_use(bench), 0u);
}

TEST(RunAhead, ABrokenDeviceFailsEveryRequestOnce) {
  Bench bench = ahead_bench(hashing_model());
  bench.engine->submit(endless(1, "abc", 20));
  bench.engine->submit(endless(2, "def", 20));
  step_until(bench, 1, 4);
  bench.backend.broken = true;
  EXPECT_FALSE(bench.engine->step());
  for (const ipc::RequestId id : {1, 2}) {
    EXPECT_TRUE(bench.sink[id].failed);
    EXPECT_EQ(bench.sink[id].terminal_outcomes, 1u);
  }
  EXPECT_FALSE(bench.engine->has_work());
}

TEST(RunAhead, WhatComesBeforeTheNextStepIsDueIsPartOfIt) {
  Bench bench = ahead_bench(hashing_model());
  bench.engine->submit(endless(1, "abc", 100));
  step_until(bench, 1, 10);
  bench.engine->submit(endless(2, "def", 2));
  ASSERT_TRUE(bench.engine->step());  // starts a step with its prompt, and ends the one before
  EXPECT_TRUE(bench.sink[2].accepted);
  ASSERT_TRUE(bench.engine->step());
  EXPECT_EQ(bench.sink[2].choices[0].tokens.size(), 1u);
}

TEST(RunAhead, TheNextStepIsDueALittleBeforeTheOneUnderWayIsOver) {
  Bench bench = ahead_bench(hashing_model());
  bench.drawing.step_time = std::chrono::milliseconds(100);
  EXPECT_EQ(bench.engine->next_step_ns(), 0u);
  bench.engine->submit(endless(1, "abc", 100));
  step_until(bench, 1, 4);
  const double due =
      (static_cast<double>(bench.engine->next_step_ns()) - static_cast<double>(monotonic_ns())) /
      double{kMillisecond_ns};
  EXPECT_GT(due, 20) << "of some 90, on a machine that may be busy";
  EXPECT_LT(due, 100);
  while (!bench.drawing.is_over()) std::this_thread::yield();
  EXPECT_EQ(bench.engine->next_step_ns(), 0u) << "it is over, whatever was expected";
  bench.engine->cancel(1);
  bench.run();
  EXPECT_EQ(bench.engine->next_step_ns(), 0u);
}

}  // namespace
}  // namespace deepserve::runner::testing
