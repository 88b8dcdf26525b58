// A model that computes what is no number for one sequence: its request fails, and nobody else notices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

constexpr uint32_t kRequests = 48;
constexpr uint32_t kBatch = 16;

// As hashing_model, but not for histories that hold kPoison; kPoison's hidden state is no number either.
Model poisonable_model(float poison) {
  return [poison](std::span<const TokenId> history, std::span<float> logits) {
    hashing_model(-100)(history, logits);
    if (std::ranges::find(history, kPoison) != history.end()) logits[history.size() % logits.size()] = poison;
  };
}

// Of every kind of work: answers of one and of several choices, scored prompts, embeddings.
std::vector<ipc::Submit> mixed_requests(uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<ipc::Submit> requests;
  for (ipc::RequestId id = 1; id <= kRequests; ++id) {
    std::vector<TokenId> prompt(8 + random() % 20);
    for (auto& token : prompt) token = 2 + static_cast<TokenId>(random() % (kPoison - 2));
    auto request = token_request(id, std::move(prompt), 1 + static_cast<uint32_t>(random() % 30));
    request.generation.logit_bias = {{kPoison, -100.0f}};
    request.generation.choices = id % 5 == 0 ? 3 : 1;
    if (id % 3 == 0) request.generation.logprobs = 2;
    request.generation.echo = id % 4 == 3;
    if (id % 11 == 7) request.work = ipc::Work::kEmbed;
    requests.push_back(std::move(request));
  }
  return requests;
}

void run_with_one_poisoned(ipc::RequestId victim, float poison, Speculation speculation) {
  SCOPED_TRACE(::testing::Message() << "request " << victim << " and " << poison);
  auto requests = mixed_requests(victim);
  auto& tokens = requests[victim - 1].prompt.tokens;
  tokens[tokens.size() / 2] = kPoison;
  EngineOptions options;
  options.sequences_max = kBatch;
  options.speculation = speculation;
  Bench crowd(poisonable_model(poison), {.blocks = 220, .block_tokens = 4}, options);
  for (const auto& request : requests) crowd.engine->submit(request);
  crowd.run();
  for (const auto& request : requests) {
    const Told& told = crowd.sink[request.request];
    ASSERT_EQ(told.terminal_outcomes, 1u);
    if (request.request == victim) {
      ASSERT_TRUE(told.failed);
      EXPECT_EQ(told.failure.code, Code::kNumericFault);
      const auto* what =
          request.work == ipc::Work::kEmbed ? "the model's hidden states" : "the model computed";
      EXPECT_THAT(told.failure.message, ::testing::HasSubstr(what));
      continue;
    }
    Bench single(hashing_model(-100));
    const Told& alone = single.submit_and_run(request);
    ASSERT_TRUE(told.finished) << told.failure.message;
    EXPECT_EQ(told.embedding, alone.embedding);
    for (const auto& [number, choice] : alone.choices) {
      EXPECT_EQ(told.choices.at(number).tokens, choice.tokens) << request.request;
      EXPECT_EQ(told.choices.at(number).echo_tokens, choice.echo_tokens);
    }
  }
  const auto gauges = crowd.engine->gauges();
  EXPECT_EQ(gauges.kv_blocks_free, gauges.kv_blocks_total);
}

TEST(NumericFault, FailsItsRequestAloneWhateverItWanted) {
  for (const ipc::RequestId victim : {1, 5, 3, 7, 15, 18, 30}) {
    for (const float poison :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      run_with_one_poisoned(victim, poison, Speculation::kOff);
    }
    run_with_one_poisoned(victim, std::numeric_limits<float>::quiet_NaN(), Speculation::kAlways);
  }
}

TEST(NumericFault, LeavesNoBlockInThePrefixCache) {
  for (const uint16_t choices : {1, 3}) {
    Bench bench(poisonable_model(std::numeric_limits<float>::quiet_NaN()), {.block_tokens = 4});
    auto request = token_request(1, letters("abcdefghijklmnopqrstuvwxyz"), 5);
    request.prompt.tokens.push_back(kPoison);
    request.generation.choices = choices;
    ASSERT_TRUE(bench.submit_and_run(request).failed);
    request.request = 2;
    request.prompt.tokens.pop_back();
    const auto& sound = bench.submit_and_run(request);
    EXPECT_EQ(sound.acceptance.cached_tokens, 0u);
    ASSERT_TRUE(sound.finished);
    // What is sound is found.
    request.request = 3;
    request.prompt.tokens.push_back(letter('a'));
    EXPECT_EQ(bench.submit_and_run(request).acceptance.cached_tokens, 24u);
  }
}

}  // namespace
}  // namespace deepserve::runner::testing
