#include "runner/lane/message_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <future>
#include <optional>
#include <thread>

#include "tests/unit/lane_server/loop_test.h"

namespace deepserve::runner::testing {
namespace {

using ::testing::HasSubstr;

TEST_F(LoopTest, ARequestIsAcceptedAnsweredAndFinished) {
  start(reciting_model(3, letters("hello")));
  daemon->submit(token_request(7, letters("abc"), 100));
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->finished.contains(7); }));
  EXPECT_EQ(daemon->accepted.at(0).request, 7u);
  EXPECT_EQ(daemon->text[7], "hello");
  EXPECT_EQ(daemon->finished[7].usage.completion_tokens, 6u);
  EXPECT_EQ(daemon->lane->read_gauges().prompt_tokens_total, 3u);
}

TEST_F(LoopTest, AnEmbeddingComesBetweenItsAcceptanceAndItsEnd) {
  start(hashing_model());
  auto request = token_request(7, letters("abc"), 0);
  request.work = ipc::Work::kEmbed;
  daemon->submit(request);
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->finished.contains(7); }));
  EXPECT_EQ(daemon->embeddings[7].size(), kHiddenWidth);
  EXPECT_THAT(daemon->order, ::testing::ElementsAre(ipc::MessageType::kAccepted, ipc::MessageType::kEmbedding,
                                                    ipc::MessageType::kFinished));
}

TEST_F(LoopTest, AcceptedIsHeardBeforeTheModelHasRun) {
  std::promise<void> heard;
  auto was_heard = heard.get_future().share();
  start([was_heard, model = hashing_model(-100)](auto history, auto logits) {
    was_heard.wait();
    model(history, logits);
  });
  daemon->submit(token_request(7, letters("abc"), 2));
  EXPECT_TRUE(daemon->wait_until([&] { return !daemon->accepted.empty(); }));
  EXPECT_TRUE(daemon->tokens.empty());
  heard.set_value();
  EXPECT_TRUE(daemon->wait_until([&] { return daemon->finished.contains(7); }));
}

TEST_F(LoopTest, ARefusalIsToldByItsCode) {
  start(hashing_model());
  daemon->submit(token_request(7, {1000}, 100));
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->failed.contains(7); }));
  EXPECT_EQ(daemon->failed[7].code, Code::kInvalidRequest);
}

TEST_F(LoopTest, CancelEndsARequestThatRuns) {
  start(hashing_model(-100));
  daemon->submit(token_request(7, letters("abc"), ipc::kRestOfContext));
  ASSERT_TRUE(daemon->wait_until([&] { return !daemon->tokens[7].empty(); }));
  daemon->send(ipc::Cancel{7}, ipc::MessageType::kCancel);
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->finished.contains(7); }));
}

TEST_F(LoopTest, WhatComesWhileTheDeviceIsAtWorkIsPartOfItsNextStep) {
  runs_ahead = true;
  step_time = std::chrono::milliseconds(300);
  start(hashing_model(-100));
  auto request = token_request(7, letters("abc"), 200);
  request.generation.ignore_eos = true;
  daemon->submit(request);
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->tokens[7].size() == 4; }));
  request.request = 8;
  daemon->submit(request);  // just after a step has begun
  ASSERT_TRUE(daemon->wait_until([&] { return !daemon->tokens[8].empty(); }));
  EXPECT_EQ(daemon->tokens[7].size(), 6u) << "of the step that had begun, and the one after";
  EXPECT_GE(drawing->steps_ahead(), 4u);
}

TEST_F(LoopTest, ADeviceIsNotKeptIdleByWhatItTookOnce) {
  runs_ahead = true;
  step_time = std::chrono::milliseconds(3);
  shape = {.blocks = 400, .block_tokens = 16, .batch_tokens_max = 2048, .context_tokens = 6000};
  engine_options.step_seconds_max = 0.1;
  start([slow = true, model = hashing_model(-100)](auto history, auto logits) mutable {
    if (std::exchange(slow, false)) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    model(history, logits);
  });
  daemon->submit(token_request(6, letters("abcdefgh"), 1));
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->finished.contains(6); }));
  const uint64_t begin_ns = monotonic_ns();
  daemon->submit(token_request(7, std::vector<TokenId>(4096, letter('a')), 2));
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->finished.contains(7); }));
  // Each step of its prefill is thought to take 100 ms at first, and takes three.
  EXPECT_LT(monotonic_ns() - begin_ns, 800 * kMillisecond_ns);
  EXPECT_GT(drawing->steps_ahead(), 0u);
}

TEST_F(LoopTest, ACancelOvertakesThePromptsThatWaitToBeTokenized) {
  std::promise<void> begun, go_on;
  std::vector<std::string> encoded;
  tokenizer.on_encode = [&](std::string_view text) {
    encoded.emplace_back(text);
    if (text != "aaa") return;
    begun.set_value();
    go_on.get_future().wait();
  };
  start(hashing_model(-100));
  const auto submit_text = [&](ipc::RequestId id, std::string text) {
    auto request = token_request(id, {}, 5);
    request.prompt.kind = ipc::PromptKind::kText;
    request.prompt.text = std::move(text);
    daemon->submit(request);
  };
  submit_text(1, "aaa");
  begun.get_future().wait();
  submit_text(2, "bbb");
  submit_text(3, "ccc");
  daemon->send(ipc::Cancel{3}, ipc::MessageType::kCancel);
  go_on.set_value();
  EXPECT_TRUE(daemon->wait_until([&] { return daemon->finished.size() == 3; }));
  EXPECT_EQ(daemon->finished[3].reason, ipc::FinishReason::kCancelled);
  EXPECT_THAT(encoded, ::testing::ElementsAre("aaa", "bbb"));
}

TEST_F(LoopTest, QueriesAreAnsweredWithoutARequest) {
  start(hashing_model());
  ipc::Query query;
  query.query = 1;
  query.prompt.text = "ab";
  daemon->send(query, ipc::MessageType::kQuery);
  query.query = 2;
  query.add_special = false;
  daemon->send(query, ipc::MessageType::kQuery);
  query.query = 3;
  query.kind = ipc::QueryKind::kDetokenize;
  query.prompt.tokens = letters("xyz");
  daemon->send(query, ipc::MessageType::kQuery);
  query.query = 4;
  query.kind = ipc::QueryKind::kTokenize;
  query.prompt.kind = ipc::PromptKind::kChat;
  daemon->send(query, ipc::MessageType::kQuery);
  query.query = 5;
  query.kind = ipc::QueryKind::kDetokenize;
  query.prompt.tokens = {kVocabulary};
  daemon->send(query, ipc::MessageType::kQuery);
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->answers.size() == 5; }));
  EXPECT_EQ(daemon->answers[5].code, Code::kInvalidRequest);
  EXPECT_EQ(daemon->answers[1].tokens, (std::vector<TokenId>{kBos, 2, 3}));
  EXPECT_EQ(daemon->answers[2].tokens, (std::vector<TokenId>{2, 3}));
  EXPECT_EQ(daemon->answers[3].text, "xyz");
  EXPECT_TRUE(daemon->answers[4].failed);
  EXPECT_EQ(daemon->answers[4].code, Code::kNotSupported);
}

TEST_F(LoopTest, DrainingFinishesWhatRunsAndRefusesWhatIsNew) {
  start(hashing_model(-100));
  daemon->submit(token_request(1, letters("abc"), 50));
  control(ipc::ControlKind::kDrain);
  daemon->submit(token_request(2, letters("abc"), 50));
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->states.size() == 2; }));
  EXPECT_EQ(daemon->states[0].phase, ipc::RunnerPhase::kDraining);
  EXPECT_EQ(daemon->states[1].phase, ipc::RunnerPhase::kDrained);
  EXPECT_EQ(daemon->tokens[1].size(), 50u);
  EXPECT_EQ(daemon->failed[2].code, Code::kShuttingDown);
  control(ipc::ControlKind::kExit);
  EXPECT_EQ(join(), LoopEnd::kToldToExit);
}

TEST_F(LoopTest, ThatItDrainsIsHeardBeforeAnyRefusal) {
  std::promise<void> begun, go_on;
  tokenizer.on_encode = [&](std::string_view) {
    begun.set_value();
    go_on.get_future().wait();
  };
  start(hashing_model(-100));
  auto first = token_request(1, {}, 5);
  first.prompt.kind = ipc::PromptKind::kText;
  first.prompt.text = "abc";
  daemon->submit(first);
  begun.get_future().wait();
  terminate = 1;  // while these two lie unread in the lane
  daemon->submit(token_request(2, letters("abc"), 5));
  daemon->submit(token_request(3, letters("abc"), 5));
  go_on.set_value();
  EXPECT_EQ(join(), LoopEnd::kDrained);
  daemon->drain();
  EXPECT_EQ(daemon->failed[2].code, Code::kShuttingDown);
  EXPECT_EQ(daemon->failed[3].code, Code::kShuttingDown);
  EXPECT_TRUE(daemon->finished.contains(1));
  EXPECT_EQ(daemon->states.at(0).phase, ipc::RunnerPhase::kDraining);
  EXPECT_LT(std::ranges::find(daemon->order, ipc::MessageType::kState),
            std::ranges::find(daemon->order, ipc::MessageType::kFailed));
}

TEST_F(LoopTest, TerminateDrainsAndEnds) {
  start(hashing_model(-100));
  daemon->submit(token_request(1, letters("abc"), 50));
  ASSERT_TRUE(daemon->wait_until([&] { return !daemon->accepted.empty(); }));
  terminate = 1;
  ASSERT_TRUE(daemon->wait_until([&] { return !daemon->states.empty() && daemon->finished.contains(1); }));
  EXPECT_EQ(join(), LoopEnd::kDrained);
  EXPECT_EQ(daemon->tokens[1].size(), 50u);
}

TEST_F(LoopTest, ItEndsWhenTheSupervisorHasGone) {
  start(hashing_model());
  supervisor.reset();
  EXPECT_EQ(join(), LoopEnd::kSupervisorGone);
}

TEST_F(LoopTest, WhileIdleItStillCountsSteps) {
  start(hashing_model());
  const uint64_t before = daemon->lane->progress().steps;
  EXPECT_TRUE(daemon->wait_until([&] { return daemon->lane->progress().steps > before + 2; }));
}

TEST_F(LoopTest, AMessageThatIsNoneOfTheDaemonsEndsItWithBadLane) {
  start(hashing_model());
  daemon->send(ipc::Cancel{1}, ipc::MessageType::kFinished);
  thread.join();
  ASSERT_FALSE(end->has_value());
  EXPECT_EQ(end->error().code, Code::kBadLane);
}

TEST_F(LoopTest, ABodyThatIsTornEndsItWithBadLane) {
  start(hashing_model());
  const std::array<std::byte, 3> torn{};
  daemon->lane->send(ipc::MessageType::kSubmit, torn);
  daemon->lane->flush();
  thread.join();
  ASSERT_FALSE(end->has_value());
  EXPECT_EQ(end->error().code, Code::kBadLane);
}

TEST_F(LoopTest, AFullLaneHoldsTheStepsBackAndLosesNothing) {
  start(hashing_model(-100), {.slots = 16, .body_bytes = 64 * 1024});
  constexpr ipc::RequestId kRequests = 40;
  for (ipc::RequestId id = 1; id <= kRequests; ++id) {
    auto request = token_request(id, letters("abc"), 200);
    request.generation.logprobs = 20;
    daemon->submit(request);
  }
  // Nobody reads until the runner is stuck: its loop turns, its engine does not.
  uint64_t generated = 1, before = 0;
  for (uint64_t begin_ns = monotonic_ns(); generated != before;) {
    ASSERT_LT(monotonic_ns() - begin_ns, kPatience_ns);
    before = generated;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    generated = daemon->lane->read_gauges().generated_tokens_total;
  }
  ASSERT_GT(generated, 0u);
  ASSERT_LT(generated, kRequests * 200);
  ASSERT_TRUE(daemon->wait_until([&] { return daemon->finished.size() == kRequests; }));
  for (ipc::RequestId id = 1; id <= kRequests; ++id) EXPECT_EQ(daemon->tokens[id].size(), 200u) << id;
}

}  // namespace
}  // namespace deepserve::runner::testing
