#include "runner/engine/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "runner/engine/philox.h"
#include "tests/unit/engine/plain_sampler.h"
#include "tests/unit/engine/random_draw.h"

namespace deepserve::runner {
namespace {

using ::testing::ElementsAre;
using testing::RandomDraw;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One request's view of the sampler.
struct Chooser {
  ipc::Generation generation;
  std::vector<TokenId> prompt;
  std::vector<TokenId> answer;
  std::vector<TokenId> masked;
  std::vector<uint64_t> allowed;
  Sampler sampler;

  Result<TokenId> choose(std::vector<float> logits, uint32_t index = 0) {
    TokenCounts counts(generation, prompt);
    for (const TokenId token : answer) counts.add_generated(token);
    return sampler.sample({logits}, {generation, counts, 0, index, masked, {}, allowed});
  }
  // How often each token comes up in `draws` draws.
  std::map<TokenId, int> histogram(const std::vector<float>& logits, int draws) {
    std::map<TokenId, int> counts;
    for (int index = 0; index < draws; ++index)
      ++counts[choose(logits, static_cast<uint32_t>(index)).value()];
    return counts;
  }
};

Chooser greedy() {
  Chooser chooser;
  chooser.generation.temperature = 0;
  return chooser;
}

TEST(Philox, GivesTheNumbersOfItsAuthorsTestVectors) {
  EXPECT_THAT(philox4x32_10({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(philox4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(Sampler, GreedyTakesTheLargestAndOfEqualOnesTheLowestId) {
  auto chooser = greedy();
  EXPECT_EQ(chooser.choose({1, 3, 2}).value(), 1u);
  EXPECT_EQ(chooser.choose({1, 3, 3, 3}).value(), 1u);
}

TEST(Sampler, PenaltiesAreWhatOneComputesByHand) {
  auto chooser = greedy();
  chooser.prompt = {0};
  chooser.answer = {1, 1};
  chooser.generation.frequency_penalty = 0.5f;  // token 1: 3 - 2 * 0.5 = 2
  EXPECT_EQ(chooser.choose({0, 3, 2.1f}).value(), 2u);
  EXPECT_EQ(chooser.choose({0, 3, 1.9f}).value(), 1u);
  chooser.generation.presence_penalty =
      0.5f;  // token 1: 3 - 1 - 0.5 = 1.5; the prompt's token 0 pays nothing
  EXPECT_EQ(chooser.choose({1.6f, 3, 0}).value(), 0u);
  EXPECT_EQ(chooser.choose({1.4f, 3, 0}).value(), 1u);
}

TEST(Sampler, RepetitionPenaltyDividesPositiveLogitsAndMultipliesNegativeOnesOfPromptAndAnswer) {
  auto chooser = greedy();
  chooser.prompt = {0};
  chooser.answer = {1};
  chooser.generation.repetition_penalty = 2;
  EXPECT_EQ(chooser.choose({4, 4, 2.1f}).value(), 2u);     // 2, 2, 2.1
  EXPECT_EQ(chooser.choose({4, 4, 1.9f}).value(), 0u);     // 2, 2, 1.9
  EXPECT_EQ(chooser.choose({-1, -1, -1.9f}).value(), 2u);  // -2, -2, -1.9
}

TEST(Sampler, LogitBiasAndMaskDecideOverTheModel) {
  auto chooser = greedy();
  chooser.generation.logit_bias = {{2, 5.0f}};
  EXPECT_EQ(chooser.choose({4, 3, 0}).value(), 2u);
  chooser.masked = {2};
  EXPECT_EQ(chooser.choose({4, 3, 0}).value(), 0u);
}

TEST(Sampler, OnlyWhatIsAllowedIsChosenWhateverElseWasAskedFor) {
  constexpr TokenId kSize = 200;  // the last word is not whole
  std::vector<float> logits(kSize);
  for (TokenId token = 0; token < kSize; ++token) logits[token] = 0.01f * static_cast<float>(token);
  for (const std::vector<TokenId>& set : {std::vector<TokenId>{0}, {63, 64}, {5, 127, 128, 199}}) {
    for (const float temperature : {0.0f, 1.0f}) {
      Chooser chooser;
      chooser.allowed.assign(4, 0);
      for (const TokenId token : set) chooser.allowed[token / 64] |= uint64_t{1} << token % 64;
      chooser.generation.temperature = temperature;
      chooser.generation.top_k = 3;
      chooser.generation.logit_bias = {{7, 100.0f}};
      const auto counts = chooser.histogram(logits, 200);
      for (const auto& [token, count] : counts) EXPECT_THAT(set, ::testing::Contains(token)) << count;
      EXPECT_EQ(counts.size(), temperature == 0.0f ? 1 : std::min<size_t>(3, set.size()));
      EXPECT_EQ(counts.rbegin()->first, set.back());
    }
  }
}

TEST(Sampler, AWholeMaskChangesNothing) {
  Chooser chooser, masked;
  masked.allowed.assign(2, ~uint64_t{0});
  const std::vector<float> logits(100, 0.0f);
  EXPECT_EQ(chooser.histogram(logits, 300), masked.histogram(logits, 300));
}

TEST(Sampler, WhenNothingIsLeftToChooseTheModelIsNotToBlame) {
  auto chooser = greedy();
  chooser.allowed = {0b010};
  chooser.masked = {1};
  const auto chosen = chooser.choose({1, 2, 3});
  ASSERT_FALSE(chosen);
  EXPECT_EQ(chosen.error().code, Code::kInvalidRequest);
}

TEST(Sampler, ADrawFollowsTheSoftmaxOfTheLogits) {
  Chooser chooser;
  const std::vector<float> logits = {std::log(1.0f), std::log(2.0f), std::log(7.0f)};
  auto counts = chooser.histogram(logits, 20'000);
  EXPECT_NEAR(counts[0], 2'000, 200);
  EXPECT_NEAR(counts[1], 4'000, 250);
  EXPECT_NEAR(counts[2], 14'000, 300);
  chooser.generation.temperature = 0.5f;  // squares the odds: 1 : 4 : 49
  counts = chooser.histogram(logits, 20'000);
  EXPECT_NEAR(counts[0], 20'000 / 54, 100);
  EXPECT_NEAR(counts[2], 20'000 * 49 / 54, 250);
}

TEST(Sampler, TheSameSeedChoiceAndIndexDrawTheSame) {
  Chooser chooser;
  chooser.generation.seed = 7;
  const std::vector<float> logits(1000, 0.0f);
  const TokenId first = chooser.choose(logits, 3).value();
  chooser.choose(logits, 4).value();
  EXPECT_EQ(chooser.choose(logits, 3).value(), first);
  chooser.generation.seed = 8;
  EXPECT_NE(chooser.choose(logits, 3).value(), first);
}

TEST(Sampler, TopKKeepsTheKLargestAndPrefersLowerIdsAmongEquals) {
  Chooser chooser;
  chooser.generation.top_k = 2;
  for (const auto& [token, count] : chooser.histogram({1, 1, 1, 0.5f}, 500)) EXPECT_LT(token, 2u) << count;
  chooser.generation.top_k = 1;
  EXPECT_EQ(chooser.histogram({0, 5, 4}, 200).size(), 1u);
}

TEST(Sampler, TopPKeepsTheFewestThatReachItTheCrossingOneIncluded) {
  Chooser chooser;
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  chooser.generation.top_p = 0.79f;
  EXPECT_EQ(chooser.histogram(logits, 1000).size(), 2u);
  chooser.generation.top_p = 0.81f;
  EXPECT_EQ(chooser.histogram(logits, 1000).size(), 3u);
  chooser.generation.top_p = 1e-6f;
  EXPECT_EQ(chooser.histogram(logits, 100).size(), 1u);
}

TEST(Sampler, MinPKeepsWhatIsLikelyEnoughBesideTheBest) {
  Chooser chooser;
  const std::vector<float> logits = {std::log(0.6f), std::log(0.3f), std::log(0.1f)};
  chooser.generation.min_p = 0.4f;
  EXPECT_EQ(chooser.histogram(logits, 500).size(), 2u);
  chooser.generation.min_p = 0.6f;
  EXPECT_EQ(chooser.histogram(logits, 500).size(), 1u);
}

TEST(Sampler, ATinyTemperatureIsGreedyAndNeverOverflows) {
  Chooser chooser;
  chooser.generation.temperature = 1e-30f;
  EXPECT_EQ(chooser.choose({-1e30f, 1e30f, 0}).value(), 1u);
}

TEST(Sampler, RowsThatAreNoLogitsAreNumericFaults) {
  auto chooser = greedy();
  const auto nan = chooser.choose({1, kNan, 2});
  ASSERT_FALSE(nan);
  EXPECT_EQ(nan.error().code, Code::kNumericFault);
  EXPECT_THAT(nan.error().message, ::testing::HasSubstr("token 1"));
  EXPECT_EQ(chooser.choose({1, kInfinity}).error().code, Code::kNumericFault);
  EXPECT_EQ(chooser.choose({-kInfinity, -kInfinity}).error().code, Code::kNumericFault);
  EXPECT_EQ(chooser.choose({-kInfinity, -1}).value(), 1u);
}

TEST(Sampler, ShortCutsGiveWhatSortingTheWholeRowGivesWithEveryInstructionSet) {
  for (const char* isa : {"scalar", "avx2", "avx512"}) {
    const auto* kernels = kernels::find_logits_kernels(isa);
    if (kernels == nullptr) continue;
    Sampler sampler(*kernels);
    for (uint64_t seed = 1; seed <= 3000; ++seed) {
      RandomDraw random(seed);
      TokenCounts counts(random.generation, random.prompt);
      for (const TokenId token : random.answer) counts.add_generated(token);
      const Draw draw{random.generation, counts, 0, 7, random.masked, {}, random.allowed};
      auto row = random.row;
      const auto token = sampler.sample({row}, draw);
      ASSERT_TRUE(token) << token.error().message;
      EXPECT_EQ(*token, testing::plain_sample(random.row, draw)) << isa << " seed " << seed;
      EXPECT_EQ(row, random.row) << "a row is as it was";
    }
  }
}

TEST(Sampler, LogprobsAreThoseOfTheWholeRowSorted) {
  Sampler sampler;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    RandomDraw random(seed);
    double total = 0;
    std::vector<RankedToken> sorted;
    const float best = *std::ranges::max_element(random.row);
    for (const float logit : random.row) total += std::exp(static_cast<double>(logit) - best);
    for (TokenId token = 0; token < random.row.size(); ++token) sorted.push_back({token, random.row[token]});
    std::ranges::stable_sort(sorted, std::greater(), &RankedToken::logprob);
    const auto ranked = sampler.logprobs({random.row}, 0, 20);
    ASSERT_EQ(ranked.size(), 1 + std::min<size_t>(20, sorted.size()));
    EXPECT_EQ(ranked[0].token, 0u);
    for (size_t i = 1; i < ranked.size(); ++i) {
      EXPECT_EQ(ranked[i].token, sorted[i - 1].token) << "seed " << seed;
      const double want = sorted[i - 1].logprob - best - std::log(total);
      EXPECT_NEAR(ranked[i].logprob, std::max(want, -9999.0), 1e-6 * std::max(1.0, std::abs(want)));
    }
  }
}

TEST(Sampler, LogprobsAreThoseOfTheRawLogitsBestFirst) {
  Sampler sampler;
  std::vector<float> logits = {std::log(0.1f), std::log(0.4f), std::log(0.4f), std::log(0.1f)};
  const auto ranked = sampler.logprobs({logits}, 3, 3);
  ASSERT_EQ(ranked.size(), 4u);
  EXPECT_EQ(ranked[0].token, 3u);
  EXPECT_NEAR(ranked[0].logprob, std::log(0.1f), 1e-6);
  EXPECT_EQ(ranked[1].token, 1u);
  EXPECT_EQ(ranked[2].token, 2u);
  EXPECT_EQ(ranked[3].token, 0u);
  EXPECT_NEAR(ranked[1].logprob, std::log(0.4f), 1e-6);
  EXPECT_EQ(sampler.logprobs({logits}, 2, 0).size(), 1u);
}

}  // namespace
}  // namespace deepserve::runner
