// What prompts that begin alike share, what they do not, and what is told of it.
#include <gtest/gtest.h>

#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

const std::vector<TokenId> kPrompt = letters("abcdefghijklm");  // three blocks of four, and one token

ipc::Submit ask(ipc::RequestId id, std::vector<TokenId> prompt = kPrompt) {
  return token_request(id, std::move(prompt), 6);
}

uint32_t cached_tokens(Bench& bench, const ipc::Submit& request) {
  const Told& told = bench.submit_and_run(request);
  CHECK(told.finished && told.acceptance.cached_tokens == told.last.usage.cached_tokens);
  return told.last.usage.cached_tokens;
}

TEST(PrefixCache, APromptThatWasComputedBeforeIsFoundInWholeBlocks) {
  Bench bench(hashing_model(-100));
  EXPECT_EQ(cached_tokens(bench, ask(1)), 0u);
  const uint64_t before = bench.backend.tokens_run;
  EXPECT_EQ(cached_tokens(bench, ask(2)), 12u);
  EXPECT_EQ(bench.backend.tokens_run - before, 6u);  // the last of the prompt, and five of the answer
  EXPECT_EQ(bench.sink[1].choices.at(0).tokens, bench.sink[2].choices.at(0).tokens);
  EXPECT_EQ(bench.engine->gauges().prefix_queries_total, 26u);
  EXPECT_EQ(bench.engine->gauges().prefix_hits_total, 12u);
}

TEST(PrefixCache, TheLastTokenOfAPromptIsAlwaysComputed) {
  Bench bench(hashing_model(-100));
  const auto prompt = letters("abcdefgh");
  EXPECT_EQ(cached_tokens(bench, ask(1, prompt)), 0u);
  EXPECT_EQ(cached_tokens(bench, ask(2, prompt)), 4u);
  EXPECT_EQ(bench.sink[1].choices.at(0).tokens, bench.sink[2].choices.at(0).tokens);
}

TEST(PrefixCache, AnAnswerIsFoundByTheTurnThatFollowsIt) {
  Bench bench(hashing_model(-100));
  bench.submit_and_run(ask(1));
  auto next = kPrompt;
  const auto& answer = bench.sink[1].choices.at(0).tokens;
  next.insert(next.end(), answer.begin(), answer.end());
  EXPECT_EQ(cached_tokens(bench, ask(2, next)), 16u);  // 13 and 5 of the answer were computed
}

TEST(PrefixCache, BlocksCountAsFreeWhileNobodyUsesThem) {
  Bench bench(hashing_model(-100));
  bench.submit_and_run(ask(1));
  EXPECT_EQ(bench.engine->gauges().kv_blocks_free, bench.engine->gauges().kv_blocks_total);
}

TEST(PrefixCache, PromptsOfOtherSaltFindNothing) {
  Bench bench(hashing_model(-100));
  auto mine = ask(1);
  mine.prefix_salt = {1, 2};
  bench.submit_and_run(mine);
  EXPECT_EQ(cached_tokens(bench, ask(2)), 0u);
  auto theirs = ask(3);
  theirs.prefix_salt = {1, 3};
  EXPECT_EQ(cached_tokens(bench, theirs), 0u);
  mine.request = 4;
  EXPECT_EQ(cached_tokens(bench, mine), 12u);
}

TEST(PrefixCache, SwitchedOffItFindsNothing) {
  Bench bench(hashing_model(-100), {}, {.prefix_cache = false});
  bench.submit_and_run(ask(1));
  EXPECT_EQ(cached_tokens(bench, ask(2)), 0u);
  EXPECT_EQ(bench.engine->gauges().prefix_queries_total, 0u);
}

TEST(PrefixCache, PositionsWhoseLogitsOrHiddenStatesAreWantedAreComputed) {
  Bench bench(hashing_model(-100));
  bench.submit_and_run(ask(1));
  auto scored = ask(2);
  scored.generation.echo = true;
  scored.generation.logprobs = 1;
  EXPECT_EQ(cached_tokens(bench, scored), 0u);
  EXPECT_EQ(bench.sink[2].choices.at(0).echo_logprobs.size(), kPrompt.size());
  auto embed = ask(3);
  embed.work = ipc::Work::kEmbed;
  EXPECT_EQ(cached_tokens(bench, embed), 0u);
  Bench single(hashing_model(-100));
  EXPECT_EQ(bench.sink[3].embedding, single.submit_and_run(embed).embedding);
  auto echoed = ask(4);
  echoed.generation.echo = true;  // told, not scored
  EXPECT_EQ(cached_tokens(bench, echoed), 12u);
  EXPECT_EQ(bench.sink[4].choices.at(0).echo_tokens, kPrompt);
}

TEST(PrefixCache, SeveralChoicesShareWhatTheFirstOneFound) {
  Bench bench(hashing_model(-100));
  bench.submit_and_run(ask(1));
  auto several = ask(2);
  several.generation.choices = 3;
  several.generation.temperature = 1;
  several.generation.seed = 9;
  EXPECT_EQ(cached_tokens(bench, several), 12u);
  Bench single(hashing_model(-100));
  const auto& alone = single.submit_and_run(several);
  for (const auto& [number, choice] : alone.choices) {
    EXPECT_EQ(bench.sink[2].choices.at(number).tokens, choice.tokens);
  }
}

TEST(PrefixCache, TwoThatComputeTheSameAtOnceEndWithOneCopy) {
  Bench bench(hashing_model(-100));
  for (ipc::RequestId id = 1; id <= 2; ++id) bench.engine->submit(token_request(id, kPrompt, 50));
  ASSERT_TRUE(bench.engine->step());
  const auto gauges = bench.engine->gauges();
  EXPECT_EQ(gauges.sequences_running, 2u);
  EXPECT_EQ(gauges.kv_blocks_total - gauges.kv_blocks_free, 3u + 2u);
  bench.run();
  EXPECT_EQ(bench.sink[1].choices.at(0).tokens, bench.sink[2].choices.at(0).tokens);
}

TEST(PrefixCache, WhatWasPreemptedFindsItsOwnBlocksAgain) {
  const auto recomputed = [](bool prefix_cache) {
    Bench bench(hashing_model(-100), {.blocks = 24, .block_tokens = 4}, {.prefix_cache = prefix_cache});
    auto batch = token_request(1, kPrompt, 60);
    batch.service_class = ipc::Class::kBatch;
    bench.engine->submit(batch);
    for (int step = 0; step < 20; ++step) CHECK(bench.engine->step().has_value());
    auto vip = token_request(2, std::vector<TokenId>(60, letter('q')), 4);
    vip.service_class = ipc::Class::kVip;
    bench.engine->submit(vip);
    bench.run();
    CHECK(bench.engine->gauges().preemptions_total == 1);
    return bench.backend.tokens_run;
  };
  EXPECT_LT(recomputed(true), recomputed(false));
}

}  // namespace
}  // namespace deepserve::runner::testing
