// Requests beside each other: what they may and may not do to one another.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <limits>

#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

using ipc::Class;
using ipc::FinishReason;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<TokenId> repeated(uint32_t count) {
  return std::vector<TokenId>(count, letter('q'));
}

std::vector<TokenId> alone(ipc::Submit request) {
  Bench bench(hashing_model());
  request.resumed.clear();
  return bench.submit_and_run(request).choices.at(0).tokens;
}

TEST(Batching, AcceptedIsToldWhenTheFirstPrefillIsScheduledAndNotBefore) {
  Bench bench(hashing_model(-100), {}, {.sequences_max = 1});
  bench.engine->submit(token_request(1, letters("abc"), 3));
  bench.engine->submit(token_request(2, letters("abd"), 3));
  EXPECT_FALSE(bench.sink[1].accepted);
  ASSERT_TRUE(bench.engine->step());
  EXPECT_TRUE(bench.sink[1].accepted);
  EXPECT_FALSE(bench.sink[2].accepted);
  bench.run();
  EXPECT_TRUE(bench.sink[2].finished);
}

TEST(Batching, HigherClassesAreAcceptedFirst) {
  Bench bench(hashing_model(-100), {}, {.sequences_max = 1});
  auto batch = token_request(1, letters("a"), 2);
  auto normal = token_request(2, letters("b"), 2);
  auto vip = token_request(3, letters("c"), 2);
  batch.service_class = Class::kBatch;
  vip.service_class = Class::kVip;
  for (const auto& request : {batch, normal, vip}) bench.engine->submit(request);
  bench.run();
  EXPECT_THAT(bench.sink.accepted_order, ElementsAre(3, 2, 1));
}

TEST(Batching, ALongPromptIsPrefilledInChunksWhileOthersDecode) {
  Bench bench(hashing_model(-100), {.batch_tokens_max = 8});
  bench.engine->submit(token_request(1, letters("abc"), 50));
  ASSERT_TRUE(bench.engine->step());
  bench.engine->submit(token_request(2, repeated(30), 5));
  for (int step = 0; step < 4; ++step) {
    ASSERT_TRUE(bench.engine->step());
    ASSERT_EQ(bench.backend.last_step.size(), 2u);
    EXPECT_EQ(bench.backend.last_step[0].tokens, 1u);
    EXPECT_EQ(bench.backend.last_step[1].tokens, 7u);
  }
  ASSERT_TRUE(bench.engine->step());
  EXPECT_EQ(bench.backend.last_step[1].tokens, 2u);
  EXPECT_EQ(bench.sink[2].choices.at(0).tokens.size(), 1u);
}

// The tokens of prefill in each step of a prompt of 200, on a device that takes `token_time` for each.
std::vector<uint32_t> prefill_steps(std::chrono::microseconds token_time, double step_seconds_max) {
  Bench bench(hashing_model(-100), {}, {.step_seconds_max = step_seconds_max});
  bench.backend.token_time = token_time;
  bench.engine->submit(token_request(1, repeated(200), 1));
  std::vector<uint32_t> tokens;
  while (bench.engine->has_work()) {
    CHECK(bench.engine->step().has_value());
    tokens.push_back(bench.backend.last_step.at(0).tokens);
  }
  return tokens;
}

TEST(Batching, ASlowDeviceIsNeverGivenMorePrefillThanItsTimeFromTheFirstStepOn) {
  const auto steps = prefill_steps(std::chrono::milliseconds(1), 0.02);  // 20 tokens
  EXPECT_EQ(steps.front(), 8u);
  EXPECT_THAT(steps, ::testing::Each(::testing::Le(20u)));
}

TEST(Batching, AFastDeviceIsGivenFullStepsOnceItIsMeasured) {
  const auto steps = prefill_steps({}, 1000);
  EXPECT_THAT(steps, ElementsAre(8, 64, 64, 64));
}

TEST(Batching, WhatIsPreemptedIsRecomputedToTheSameTokens) {
  const FakeBackend::Shape tight{.blocks = 12, .block_tokens = 4};
  Bench bench(hashing_model(-100), tight);
  std::vector<ipc::Submit> requests;
  for (ipc::RequestId id = 1; id <= 4; ++id)
    requests.push_back(token_request(id, repeated(static_cast<uint32_t>(id) + 2), 24));
  for (const auto& request : requests) bench.engine->submit(request);
  bench.run();
  EXPECT_GT(bench.engine->gauges().preemptions_total, 0u);
  for (const auto& request : requests) {
    Bench single(hashing_model(-100));
    EXPECT_EQ(bench.sink[request.request].choices.at(0).tokens,
              single.submit_and_run(request).choices.at(0).tokens)
        << request.request;
    EXPECT_EQ(bench.sink[request.request].terminal_outcomes, 1u);
  }
}

TEST(Batching, ARequestThatThePoolCannotHoldIsRefusedWithTheSizes) {
  Bench bench(hashing_model(), {.blocks = 4, .block_tokens = 4, .context_tokens = 256});
  const auto& told = bench.submit_and_run(token_request(1, repeated(17), 1));
  ASSERT_TRUE(told.failed);
  EXPECT_EQ(told.failure.code, Code::kContextLength);
  EXPECT_THAT(told.failure.message,
              AllOf(HasSubstr("17 tokens"), HasSubstr("5 KV blocks"), HasSubstr("has 4 blocks")));
  EXPECT_TRUE(bench.submit_and_run(token_request(2, repeated(10), 50)).failed);
  const auto& rest = bench.submit_and_run(token_request(3, repeated(10), ipc::kRestOfContext));
  EXPECT_TRUE(rest.finished);
  EXPECT_LE(rest.choices.at(0).tokens.size(), 7u);
}

TEST(Batching, CancelFreesEverythingBeforeTheNextStep) {
  Bench bench(hashing_model(-100));
  auto request = token_request(1, letters("abcdef"), 100);
  request.generation.choices = 3;
  bench.engine->submit(request);
  ASSERT_TRUE(bench.engine->step());
  ASSERT_TRUE(bench.engine->step());
  EXPECT_EQ(bench.engine->gauges().sequences_running, 3u);
  bench.engine->cancel(1);
  const auto gauges = bench.engine->gauges();
  EXPECT_EQ(gauges.kv_blocks_free, gauges.kv_blocks_total);
  EXPECT_EQ(gauges.sequences_running, 0u);
  EXPECT_TRUE(bench.sink[1].finished);
  EXPECT_EQ(bench.sink[1].last.reason, FinishReason::kCancelled);
  EXPECT_FALSE(bench.engine->has_work());
  bench.engine->cancel(1);
  bench.engine->cancel(99);
}

TEST(Batching, CancelReachesWhatStillWaits) {
  Bench bench(hashing_model(-100), {}, {.sequences_max = 1});
  bench.engine->submit(token_request(1, letters("a"), 3));
  bench.engine->submit(token_request(2, letters("b"), 3));
  ASSERT_TRUE(bench.engine->step());
  bench.engine->cancel(2);
  EXPECT_TRUE(bench.sink[2].finished);
  EXPECT_FALSE(bench.sink[2].accepted);
  bench.run();
  EXPECT_TRUE(bench.sink[1].finished);
}

TEST(Batching, AResumedRequestGoesOnExactlyWhereItStopped) {
  auto request = token_request(1, letters("hello"), 30);
  request.generation.temperature = 1;
  request.generation.seed = 5;
  request.generation.repetition_penalty = 1.3f;
  request.generation.frequency_penalty = 0.2f;
  const auto whole = alone(request);
  ASSERT_GT(whole.size(), 4u);
  for (size_t done = 0; done <= whole.size(); ++done) {
    request.resumed = {{0, {whole.begin(), whole.begin() + static_cast<ptrdiff_t>(done)}}};
    Bench bench(hashing_model());
    const auto& told = bench.submit_and_run(request);
    auto joined = request.resumed[0].tokens;
    const auto& rest = told.choices.at(0);
    EXPECT_TRUE(rest.tokens.empty() || rest.first_index == done);
    joined.insert(joined.end(), rest.tokens.begin(), rest.tokens.end());
    EXPECT_EQ(joined, whole) << done;
    EXPECT_EQ(told.last.usage.completion_tokens, whole.size());
    EXPECT_EQ(told.terminal_outcomes, 1u);
  }
}

TEST(Batching, TheTextOfAResumedRequestIsTheRestOfTheWhole) {
  const std::vector<TokenId> answer = {letter('a'), kEuro0,      kEuro0 + 1, kEuro0 + 2,
                                       letter('s'), letter('t'), letter('x')};
  auto request = token_request(1, letters("abc"), 50);
  request.generation.stop = {"stop"};
  request.generation.echo = true;
  for (size_t done = 0; done <= answer.size(); ++done) {
    Bench bench(reciting_model(3, answer));
    bench.engine->submit(request);
    for (size_t step = 0; step < done; ++step) ASSERT_TRUE(bench.engine->step());
    const std::string before = bench.sink[1].choices[0].text;
    EXPECT_EQ(bench.sink[1].choices[0].echo_text(), done == 0 ? "" : "abc");
    auto again = request;
    again.resumed = {{0, bench.sink[1].choices[0].tokens}};
    Bench next(reciting_model(3, answer));
    EXPECT_EQ(before + next.submit_and_run(again).choices.at(0).text, "a\xe2\x82\xacstx") << done;
    EXPECT_EQ(next.sink[1].choices[0].echo_text(), done == 0 ? "abc" : "");
  }
}

// From the start with all of the text, whatever part of it was heard elsewhere.
TEST(Batching, UnheardTokensOfAResumedRequestAreToldAgainAsTheyWere) {
  const std::vector<TokenId> answer = {letter('a'), kEuro0,      kEuro0 + 1,  kEuro0 + 2,
                                       letter('s'), letter('t'), letter('x'), kEos};
  auto request = token_request(1, letters("abc"), 50);
  request.generation.stop = {"stop"};
  for (uint32_t done = 1; done <= answer.size(); ++done) {
    const std::vector<TokenId> resumed(answer.begin(), answer.begin() + done);
    request.resumed = {{0, resumed, done}};
    Bench bench(reciting_model(3, answer));
    const auto& told = bench.submit_and_run(request);
    EXPECT_EQ(told.choices.at(0).first_index, 0u) << done;
    EXPECT_EQ(told.choices.at(0).tokens, answer) << done;
    EXPECT_EQ(told.choices.at(0).text, "a\xe2\x82\xacstx") << done;
    EXPECT_EQ(told.last.usage.completion_tokens, answer.size()) << done;
  }
}

TEST(Batching, OfAResumedChoiceOnlyTheLastTokensMayBeUnheard) {
  auto request = token_request(1, letters("abc"), 50);
  request.resumed = {{0, letters("de"), 1}};
  Bench bench(reciting_model(3, letters("def")));
  const auto& told = bench.submit_and_run(request);
  EXPECT_EQ(told.choices.at(0).first_index, 1u);
  EXPECT_EQ(told.choices.at(0).tokens.front(), letter('e'));
  EXPECT_EQ(told.choices.at(0).text, "ef");
}

TEST(Batching, AResumedChoiceThatHadEndedUnheardTellsItsTokensAndItsEndAndTheOthersGoOn) {
  auto request = token_request(1, letters("abc"), 10);
  request.generation.choices = 3;
  request.resumed = {{1, {letter('d'), kEos}, 2}, {0, {letter('d')}, 1}};
  Bench bench(reciting_model(3, letters("de")));
  bench.engine->submit(request);
  EXPECT_EQ(bench.sink[1].choices.at(1).text, "d");
  EXPECT_EQ(bench.sink[1].choices.at(1).reason, FinishReason::kStop);
  bench.run();
  EXPECT_EQ(bench.sink[1].choices.at(0).text, "de");
  EXPECT_EQ(bench.sink[1].choices.at(2).text, "de");
}

TEST(Batching, AResumedChoiceThatHadEndedEndsAgainAtOnceAndTheOthersGoOn) {
  auto request = token_request(1, letters("abc"), 10);
  request.generation.choices = 2;
  request.resumed = {{1, {letter('d'), kEos}}, {0, {letter('d')}}};
  Bench bench(reciting_model(3, letters("de")));
  bench.engine->submit(request);
  EXPECT_TRUE(bench.sink[1].choices.at(1).ended);
  EXPECT_EQ(bench.sink[1].choices.at(1).reason, FinishReason::kStop);
  bench.run();
  EXPECT_EQ(bench.sink[1].choices.at(0).text, "e");
  EXPECT_EQ(bench.sink[1].last.usage.completion_tokens, 5u);
}

TEST(Batching, ANumericFaultFailsItsRequestAndLeavesTheBatchAlone) {
  const auto model = [](std::span<const TokenId> history, std::span<float> logits) {
    hashing_model(-100)(history, logits);
    if (history.front() == letter('z') && history.size() == 6)
      logits[3] = std::numeric_limits<float>::quiet_NaN();
  };
  Bench bench(model);
  auto poisoned = token_request(1, letters("zab"), 20);
  poisoned.generation.choices = 2;
  bench.engine->submit(poisoned);
  bench.engine->submit(token_request(2, letters("abc"), 20));
  bench.run();
  ASSERT_TRUE(bench.sink[1].failed);
  EXPECT_EQ(bench.sink[1].failure.code, Code::kNumericFault);
  EXPECT_EQ(bench.sink[1].terminal_outcomes, 1u);
  EXPECT_EQ(bench.sink[2].choices.at(0).tokens, [] {
    Bench single(hashing_model(-100));
    return single.submit_and_run(token_request(2, letters("abc"), 20)).choices.at(0).tokens;
  }());
  EXPECT_EQ(bench.engine->gauges().kv_blocks_free, bench.engine->gauges().kv_blocks_total);
}

TEST(Batching, ADeviceFaultFailsEveryRequestAndIsReturned) {
  Bench bench(hashing_model(-100), {}, {.sequences_max = 1});
  bench.engine->submit(token_request(1, letters("a"), 5));
  bench.engine->submit(token_request(2, letters("b"), 5));
  ASSERT_TRUE(bench.engine->step());
  bench.backend.broken = true;
  const auto result = bench.engine->step();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kInternal);
  EXPECT_TRUE(bench.sink[1].failed);
  EXPECT_TRUE(bench.sink[2].failed);
  EXPECT_FALSE(bench.engine->has_work());
}

TEST(Batching, AnIdThatRunsAlreadyIsIgnored) {
  Bench bench(hashing_model(-100));
  bench.engine->submit(token_request(1, letters("a"), 5));
  bench.engine->submit(token_request(1, letters("b"), 5));
  bench.run();
  EXPECT_EQ(bench.sink[1].terminal_outcomes, 1u);
}

TEST(Batching, GaugesCountTokensAndSequences) {
  Bench bench(hashing_model(-100), {}, {.sequences_max = 2});
  for (ipc::RequestId id = 1; id <= 3; ++id) bench.engine->submit(token_request(id, letters("abcd"), 5));
  ASSERT_TRUE(bench.engine->step());
  EXPECT_EQ(bench.engine->gauges().sequences_running, 2u);
  EXPECT_EQ(bench.engine->gauges().sequences_waiting, 1u);
  bench.run();
  EXPECT_EQ(bench.engine->gauges().prompt_tokens_total, 12u);
  EXPECT_EQ(bench.engine->gauges().generated_tokens_total, 15u);
}

}  // namespace
}  // namespace deepserve::runner::testing
