#include "runner/lane/lane_sink.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/unit/engine/fakes.h"
#include "tests/unit/lane_server/lane_pair.h"

namespace deepserve::runner::testing {
namespace {

TEST(LaneSink, ALongTextGoesInPiecesThatAreWholeCharactersAndTheTokensComeLast) {
  auto fds = ipc::create_lane({}, 1).value();
  DaemonEnd daemon(duplicate(fds));
  const auto lane = ipc::Lane::attach(std::move(fds), ipc::Side::kRunner, 1).value();
  LaneSink sink(*lane);
  ipc::Delta delta;
  delta.request = 5;
  for (int i = 0; i < 100'000; ++i) delta.text += "\xe2\x82\xac";
  delta.tokens = {1, 2};
  sink.delta(delta);
  lane->flush();
  daemon.drain();
  EXPECT_EQ(daemon.text[5], delta.text);
  EXPECT_EQ(daemon.tokens[5], delta.tokens);
}

TEST(LaneSink, ALongEchoGoesInPiecesOfTextAndThenOfTokens) {
  auto fds = ipc::create_lane({.slots = 64, .body_bytes = 4096}, 1).value();
  DaemonEnd daemon(duplicate(fds));
  const auto lane = ipc::Lane::attach(std::move(fds), ipc::Side::kRunner, 1).value();
  LaneSink sink(*lane);
  ipc::Delta delta;
  delta.request = 5;
  delta.echo = true;
  for (int i = 0; i < 200; ++i) delta.text += "\xe2\x82\xac";
  for (TokenId token = 0; token < 1000; ++token) delta.tokens.push_back(token);
  sink.delta(delta);
  do {
    sink.retry();
    sink.flush();
    daemon.drain();
  } while (sink.blocked() || lane->outbox_bytes() > 0);
  daemon.drain();
  EXPECT_EQ(daemon.echo_text[5], delta.text);
  EXPECT_EQ(daemon.echo_tokens[5], delta.tokens);
}

// What came of each of many choices: tokens of prompt and answer together, and their log probabilities.
struct Heard {
  std::array<size_t, 128> tokens{};
  std::array<size_t, 128> entries{};
  size_t body_bytes_max = 0;
};

// A prompt of `prompt_tokens` with 20 log probabilities to 128 choices, through a lane of these sizes.
Heard hear_scored_prompt(uint32_t prompt_tokens, size_t token_bytes, const ipc::LaneSizes& sizes) {
  auto fds = ipc::create_lane(sizes, 1).value();
  const auto daemon = ipc::Lane::attach(duplicate(fds), ipc::Side::kDaemon, 1).value();
  const auto lane = ipc::Lane::attach(std::move(fds), ipc::Side::kRunner, 1).value();
  LaneSink sink(*lane);
  FakeTokenizer tokenizer;
  for (auto& text : tokenizer.vocabulary_.tokens) text.resize(token_bytes, 'x');
  FakeBackend backend(hashing_model(-100), {.blocks = 600});
  const auto engine = Engine::make(backend, tokenizer, kNoChat, {}, sink).value();
  auto request = token_request(1, std::vector<TokenId>(prompt_tokens, letter('q')), 2);
  request.generation.echo = true;
  request.generation.choices = 128;
  request.generation.logprobs = 20;
  Heard heard;
  bool finished = false;
  const auto take = [&](ipc::MessageType type, std::span<const std::byte> body) {
    heard.body_bytes_max = std::max(heard.body_bytes_max, body.size());
    if (type == ipc::MessageType::kFinished) finished = ipc::Finished::decode(body).value().last;
    if (type != ipc::MessageType::kDelta) return;
    const auto delta = ipc::Delta::decode(body).value();
    heard.tokens.at(delta.choice) += delta.tokens.size();
    for (const auto& entry : delta.logprobs) heard.entries.at(delta.choice) += entry.size();
  };
  engine->submit(request);
  while (!finished) {
    sink.retry();
    if (!sink.blocked()) CHECK(engine->step().has_value());
    sink.flush();
    CHECK(daemon->drain(1000, take).has_value());
    daemon->flush();
  }
  return heard;
}

TEST(LaneSink, AHundredAndTwentyEightChoicesOfAScoredPromptFitWhateverTheTokensAre) {
  const auto plain = hear_scored_prompt(200, 4, {});
  const auto monstrous = hear_scored_prompt(5, 5000, {});
  EXPECT_LE(monstrous.body_bytes_max, 30'000u);  // 21 texts of a KiB, and the token's own
  for (size_t choice = 0; choice < 128; ++choice) {
    EXPECT_EQ(plain.tokens[choice], 202u);
    EXPECT_EQ(plain.entries[choice], 201u * 21);
    EXPECT_EQ(monstrous.tokens[choice], 7u);
    EXPECT_EQ(monstrous.entries[choice], 6u * 21);
  }
}

TEST(LaneSink, WhatDoesNotFitIntoATinyLaneLosesAlternativesAndNeverTokens) {
  const auto heard = hear_scored_prompt(5, 5000, {.slots = 64, .body_bytes = 4096});
  EXPECT_LE(heard.body_bytes_max, 1024u);
  for (size_t choice = 0; choice < 128; ++choice) {
    EXPECT_EQ(heard.tokens[choice], 7u);
    EXPECT_GE(heard.entries[choice], 6u);
  }
}

TEST(LaneSink, AnAnswerThatDoesNotFitIsRefusedByItsSize) {
  auto fds = ipc::create_lane({.slots = 64, .body_bytes = 4096}, 1).value();
  DaemonEnd daemon(duplicate(fds));
  const auto lane = ipc::Lane::attach(std::move(fds), ipc::Side::kRunner, 1).value();
  LaneSink sink(*lane);
  ipc::Answer answer;
  answer.query = 3;
  answer.tokens.resize(10'000);
  sink.answer(answer);
  lane->flush();
  daemon.drain();
  EXPECT_TRUE(daemon.answers[3].failed);
  EXPECT_EQ(daemon.answers[3].code, Code::kPayloadTooLarge);
}

}  // namespace
}  // namespace deepserve::runner::testing
