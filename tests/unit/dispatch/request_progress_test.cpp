#include "daemon/dispatch/request_progress.h"

#include <gtest/gtest.h>

#include <limits>

namespace deepserve::daemon {
namespace {

ipc::Generation choices(uint16_t count) {
  ipc::Generation generation;
  generation.choices = count;
  return generation;
}

ipc::Delta delta(uint16_t choice, uint32_t index, std::vector<ipc::TokenId> tokens) {
  ipc::Delta event;
  event.request = 1;
  event.choice = choice;
  event.index = index;
  event.tokens = std::move(tokens);
  return event;
}

Heard hear(RequestProgress& progress, ipc::Delta event) {
  return progress.on_delta(event);
}

ipc::Finished finished(uint16_t choice, bool last) {
  ipc::Finished event;
  event.request = 1;
  event.choice = choice;
  event.last = last;
  return event;
}

RequestProgress accepted(const ipc::Generation& generation, ipc::Work work = ipc::Work::kGenerate) {
  RequestProgress progress(work, generation);
  EXPECT_EQ(progress.on_accepted({1, 10, 2}), Heard::kNews);
  return progress;
}

RequestProgress accepted(uint16_t count = 1) {
  return accepted(choices(count));
}

// A request with an echo, whose prompt has 10 tokens.
RequestProgress echoing(uint16_t count = 1) {
  auto generation = choices(count);
  generation.echo = true;
  return accepted(generation);
}

ipc::Delta echo(uint32_t index, std::vector<ipc::TokenId> tokens, std::string text) {
  auto event = delta(0, index, std::move(tokens));
  event.echo = true;
  event.text = std::move(text);
  return event;
}

RequestProgress embedding() {
  return accepted({}, ipc::Work::kEmbed);
}

Heard embed(RequestProgress& progress, std::vector<float> values) {
  return progress.on_embedding({1, std::move(values)});
}

TEST(RequestProgress, TokensAreToldOnceAndInOrder) {
  auto progress = accepted();
  EXPECT_EQ(hear(progress, delta(0, 0, {5, 6})), Heard::kNews);
  EXPECT_EQ(hear(progress, delta(0, 0, {5, 6})), Heard::kRepeat);
  EXPECT_EQ(hear(progress, delta(0, 2, {7})), Heard::kNews);
  EXPECT_EQ(hear(progress, delta(0, 1, {6, 7})), Heard::kRepeat);
  EXPECT_EQ(progress.generated_tokens(), 3u);
}

TEST(RequestProgress, AGapAHalfRepeatAndAnUnknownChoiceAreLies) {
  auto progress = accepted();
  EXPECT_EQ(hear(progress, delta(0, 1, {5})), Heard::kLie);
  EXPECT_EQ(hear(progress, delta(1, 0, {5})), Heard::kLie);
  EXPECT_EQ(hear(progress, delta(0, 0, {5})), Heard::kNews);
  EXPECT_EQ(hear(progress, delta(0, 0, {5, 6})), Heard::kLie);
  EXPECT_EQ(hear(progress, delta(0, 0xffffffff, {5, 6})), Heard::kLie);
}

TEST(RequestProgress, ALogProbabilityThatCannotBeIsALie) {
  const float infinite = std::numeric_limits<float>::infinity();
  const auto heard = [](RequestProgress progress, ipc::Delta event, float logprob) {
    event.logprobs = {{{5, -1.0f, "a"}, {6, logprob, "b"}}};
    return progress.on_delta(event);
  };
  for (const float logprob : {infinite, 0.5f, std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_EQ(heard(accepted(), delta(0, 0, {5}), logprob), Heard::kLie) << logprob;
    EXPECT_EQ(heard(echoing(), echo(0, {5}, "a"), logprob), Heard::kLie) << logprob;
  }
  for (const float logprob : {-infinite, -9999.0f, 0.0f}) {
    EXPECT_EQ(heard(accepted(), delta(0, 0, {5}), logprob), Heard::kNews) << logprob;
  }
}

TEST(RequestProgress, ADeltaBeforeAcceptanceIsALie) {
  RequestProgress progress(ipc::Work::kGenerate, choices(1));
  EXPECT_EQ(hear(progress, delta(0, 0, {1})), Heard::kLie);
}

TEST(RequestProgress, AReplayGoesOnAfterTheTokensThatWereTold) {
  auto progress = accepted(2);
  EXPECT_EQ(hear(progress, delta(1, 0, {8, 9})), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  const auto resumed = progress.resumed();
  ASSERT_EQ(resumed.size(), 1u);
  EXPECT_EQ(resumed[0].choice, 1);
  EXPECT_EQ(resumed[0].tokens, (std::vector<ipc::TokenId>{8, 9}));
  EXPECT_EQ(progress.on_accepted({1, 10, 0}), Heard::kRepeat);
  EXPECT_EQ(hear(progress, delta(1, 2, {10})), Heard::kNews);
}

TEST(RequestProgress, WhatAnEarlierDsdHadHeardIsGoneOnFromAndIsNewsOnceMore) {
  RequestProgress progress(ipc::Work::kGenerate, choices(2));
  progress.heard_before({{1, {8, 9, 10}}});
  EXPECT_EQ(progress.on_accepted({1, 10, 0}), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  const auto resumed = progress.resumed();
  ASSERT_EQ(resumed.size(), 1u);
  EXPECT_EQ(resumed[0].tokens, (std::vector<ipc::TokenId>{8, 9, 10}));
  EXPECT_EQ(resumed[0].unheard, 3u);
  EXPECT_EQ(progress.resumed_tokens(), 3u);
  EXPECT_EQ(hear(progress, delta(1, 0, {8})), Heard::kRetold);
}

TEST(RequestProgress, ARunnerThatLivesOnTellsAsNewsWhatAnEarlierDsdHadHeard) {
  RequestProgress progress(ipc::Work::kGenerate, choices(1));
  progress.heard_before({{0, {8, 9}}});
  EXPECT_EQ(progress.on_accepted({1, 10, 0}), Heard::kNews);
  EXPECT_EQ(hear(progress, delta(0, 0, {8})), Heard::kNews);
  EXPECT_EQ(progress.resumed()[0].tokens, (std::vector<ipc::TokenId>{8, 9})) << "should it die now";
  EXPECT_EQ(progress.resumed()[0].unheard, 1u);
}

TEST(RequestProgress, TokensThatAreToldAgainProveNoSuspectsInnocence) {
  RequestProgress progress(ipc::Work::kGenerate, choices(1));
  progress.heard_before({{0, std::vector<ipc::TokenId>(RequestProgress::kInnocentTokens + 1, 7)}});
  EXPECT_EQ(progress.on_accepted({1, 10, 0}), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kRunner, false));
  for (uint32_t i = 0; i <= RequestProgress::kInnocentTokens; ++i)
    ASSERT_EQ(hear(progress, delta(0, i, {7})), Heard::kRetold);
  EXPECT_TRUE(progress.is_suspect());
  EXPECT_FALSE(progress.on_runner_died(Blame::kRunner, true));
}

TEST(RequestProgress, ARunnerThatDiesWhileItTellsThatAgainIsFollowedByOneThatTellsTheRest) {
  RequestProgress progress(ipc::Work::kGenerate, choices(1));
  progress.heard_before({{0, {8, 9, 10}}});
  EXPECT_EQ(progress.on_accepted({1, 10, 0}), Heard::kNews);
  EXPECT_EQ(hear(progress, delta(0, 0, {8})), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  EXPECT_EQ(progress.resumed()[0].unheard, 2u);
  EXPECT_EQ(hear(progress, delta(0, 1, {9, 10})), Heard::kRetold);
  EXPECT_EQ(hear(progress, delta(0, 3, {11})), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  EXPECT_EQ(progress.resumed()[0].tokens, (std::vector<ipc::TokenId>{8, 9, 10, 11}));
  EXPECT_EQ(progress.resumed()[0].unheard, 0u);
}

TEST(RequestProgress, OtherTokensThanAnEarlierDsdHadHeardAreALie) {
  RequestProgress progress(ipc::Work::kGenerate, choices(1));
  progress.heard_before({{0, {8, 9}}});
  EXPECT_EQ(progress.on_accepted({1, 10, 0}), Heard::kNews);
  EXPECT_EQ(hear(progress, delta(0, 0, {8, 7})), Heard::kLie);
}

TEST(RequestProgress, AChoiceThatHadEndedBeforeTheReplayEndsOnlyOnce) {
  auto progress = accepted(2);
  EXPECT_EQ(hear(progress, delta(0, 0, {4})), Heard::kNews);
  auto first = finished(0, false);
  EXPECT_EQ(progress.on_finished(first), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  EXPECT_EQ(hear(progress, delta(1, 0, {4})), Heard::kNews);
  auto second = finished(1, false);
  EXPECT_EQ(progress.on_finished(second), Heard::kNews);
  EXPECT_TRUE(second.last);
  EXPECT_EQ(second.usage.prompt_tokens, 10u);
  EXPECT_EQ(second.usage.completion_tokens, 2u);
  auto repeat = finished(0, true);
  EXPECT_EQ(progress.on_finished(repeat), Heard::kRepeat);
}

TEST(RequestProgress, TextWithoutTokensIsToldOnceAlsoWhenTheReplayCutsItElsewhere) {
  auto progress = accepted();
  auto held_back = delta(0, 0, {});
  held_back.text = "Once upon";
  EXPECT_EQ(progress.on_delta(held_back), Heard::kNews);
  EXPECT_EQ(held_back.text, "Once upon");
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  held_back.text = "Once ";
  EXPECT_EQ(progress.on_delta(held_back), Heard::kRepeat);
  held_back.text = "upon a time";
  EXPECT_EQ(progress.on_delta(held_back), Heard::kNews);
  EXPECT_EQ(held_back.text, " a time");
  EXPECT_EQ(hear(progress, delta(0, 0, {5})), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  auto tail = delta(0, 1, {});
  tail.text = "tail";
  EXPECT_EQ(progress.on_delta(tail), Heard::kNews);
}

TEST(RequestProgress, AnEchoIsCountedApartFromTheAnswer) {
  auto progress = echoing();
  EXPECT_EQ(hear(progress, echo(0, {1, 2, 3, 4, 5, 6}, "abcdef")), Heard::kNews);
  EXPECT_EQ(hear(progress, echo(0, {1, 2, 3}, "abc")), Heard::kRepeat);
  EXPECT_EQ(hear(progress, echo(6, {7, 8, 9, 10}, "ghij")), Heard::kNews);
  EXPECT_EQ(hear(progress, delta(0, 0, {11})), Heard::kNews);
  EXPECT_EQ(progress.generated_tokens(), 1u);
  EXPECT_EQ(progress.resumed().at(0).tokens, (std::vector<ipc::TokenId>{11}));
}

TEST(RequestProgress, AReplayRepeatsNothingOfTheEchoWhereverItIsCut) {
  const std::string text = "0123456789";
  for (uint32_t told = 0; told <= 10; ++told) {
    for (uint32_t size = 1; size <= 10; ++size) {
      auto progress = echoing();
      std::string heard = text.substr(0, told);
      std::vector<ipc::TokenId> tokens;
      for (uint32_t i = 0; i < told; ++i) {
        EXPECT_EQ(hear(progress, echo(i, {i}, text.substr(i, 1))), Heard::kNews);
        tokens.push_back(i);
      }
      ASSERT_TRUE(progress.on_runner_died(Blame::kNobody, true));
      for (uint32_t i = 0; i < 10; i += size) {
        auto again = echo(i, {}, text.substr(i, size));
        for (uint32_t j = i; j < std::min(10u, i + size); ++j) {
          again.tokens.push_back(j);
          again.logprobs.push_back({{j, -1.0f, ""}});
        }
        const bool news = i + again.tokens.size() > told;
        ASSERT_EQ(progress.on_delta(again), news ? Heard::kNews : Heard::kRepeat) << told << " " << size;
        if (!news) continue;
        EXPECT_EQ(again.index, tokens.size());
        ASSERT_EQ(again.logprobs.size(), again.tokens.size());
        EXPECT_EQ(again.logprobs[0][0].token, again.tokens[0]);
        tokens.insert(tokens.end(), again.tokens.begin(), again.tokens.end());
        heard += again.text;
      }
      EXPECT_EQ(heard, text);
      EXPECT_EQ(tokens.size(), 10u);
    }
  }
}

TEST(RequestProgress, PiecesOfALongEchoAreToldOnce) {
  auto progress = echoing();
  EXPECT_EQ(hear(progress, echo(0, {}, "abcd")), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  EXPECT_EQ(hear(progress, echo(0, {}, "abc")), Heard::kRepeat);
  auto rest = echo(0, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, "def");
  EXPECT_EQ(progress.on_delta(rest), Heard::kNews);
  EXPECT_EQ(rest.text, "ef");
  EXPECT_EQ(rest.tokens.size(), 10u);
}

TEST(RequestProgress, AnEchoThatCannotBeIsALie) {
  auto unasked = accepted();
  EXPECT_EQ(hear(unasked, echo(0, {1}, "a")), Heard::kLie);
  auto gap = echoing();
  EXPECT_EQ(hear(gap, echo(1, {1}, "a")), Heard::kLie);
  auto beyond = echoing();
  EXPECT_EQ(hear(beyond, echo(0, std::vector<ipc::TokenId>(11), "a")), Heard::kLie);
  auto late = echoing();
  EXPECT_EQ(hear(late, echo(0, std::vector<ipc::TokenId>(10), "a")), Heard::kNews);
  EXPECT_EQ(hear(late, delta(0, 0, {7})), Heard::kNews);
  EXPECT_EQ(hear(late, echo(10, {}, "b")), Heard::kLie);
}

TEST(RequestProgress, AnAnswerOrAnEndBeforeTheWholeEchoIsALie) {
  auto answer = echoing();
  EXPECT_EQ(hear(answer, echo(0, std::vector<ipc::TokenId>(9), "a")), Heard::kNews);
  EXPECT_EQ(hear(answer, delta(0, 0, {7})), Heard::kLie);
  auto ended = echoing();
  auto end = finished(0, true);
  EXPECT_EQ(ended.on_finished(end), Heard::kLie);
}

TEST(RequestProgress, AnEmbeddingIsToldOnceAndAReplaysIsARepeat) {
  auto progress = embedding();
  EXPECT_EQ(embed(progress, {0.6f, 0.8f}), Heard::kNews);
  ASSERT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  EXPECT_EQ(embed(progress, {0.6f, 0.8f}), Heard::kRepeat);
  auto end = finished(0, true);
  EXPECT_EQ(progress.on_finished(end), Heard::kNews);
  EXPECT_EQ(end.usage.prompt_tokens, 10u);
}

TEST(RequestProgress, AnEmbeddingThatCannotBeIsALie) {
  auto twice = embedding();
  EXPECT_EQ(embed(twice, {1.0f}), Heard::kNews);
  EXPECT_EQ(embed(twice, {1.0f}), Heard::kLie);
  auto empty = embedding();
  EXPECT_EQ(embed(empty, std::vector<float>{}), Heard::kLie);
  auto wide = embedding();
  EXPECT_EQ(embed(wide, std::vector<float>(100'000)), Heard::kLie);
  auto not_a_number = embedding();
  EXPECT_EQ(embed(not_a_number, {0.0f, std::numeric_limits<float>::quiet_NaN()}), Heard::kLie);
  auto unasked = accepted();
  EXPECT_EQ(embed(unasked, {1.0f}), Heard::kLie);
  auto with_tokens = embedding();
  EXPECT_EQ(hear(with_tokens, delta(0, 0, {1})), Heard::kLie);
  auto missing = embedding();
  auto end = finished(0, true);
  EXPECT_EQ(missing.on_finished(end), Heard::kLie);
  RequestProgress unaccepted(ipc::Work::kEmbed, {});
  EXPECT_EQ(embed(unaccepted, {1.0f}), Heard::kLie);
}

TEST(RequestProgress, ALastThatIsNotTheLastIsALie) {
  auto progress = accepted(2);
  auto early = finished(0, true);
  EXPECT_EQ(progress.on_finished(early), Heard::kLie);
}

TEST(RequestProgress, OutsideKillsBlameNobodyButTheSecondCrashEndsIt) {
  auto progress = accepted();
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  EXPECT_TRUE(progress.on_runner_died(Blame::kRunner, true));
  EXPECT_FALSE(progress.on_runner_died(Blame::kRunner, true));
}

TEST(RequestProgress, OnlyOneThatKillsItsRunnerAloneFails) {
  auto progress = accepted();
  EXPECT_FALSE(progress.is_suspect());
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(progress.on_runner_died(Blame::kRunner, false));
  EXPECT_TRUE(progress.is_suspect());
  EXPECT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  EXPECT_FALSE(progress.on_runner_died(Blame::kRunner, true));
}

TEST(RequestProgress, ASuspectThatGoesOnForLongIsOneNoMore) {
  auto progress = accepted();
  ASSERT_TRUE(progress.on_runner_died(Blame::kRunner, true));
  for (uint32_t i = 0; i < RequestProgress::kInnocentTokens; ++i) {
    ASSERT_EQ(hear(progress, delta(0, i, {1})), Heard::kNews);
  }
  EXPECT_FALSE(progress.is_suspect());
  EXPECT_TRUE(progress.on_runner_died(Blame::kRunner, true));
}

TEST(RequestProgress, ReplaysThatTellSomethingNewAreNotBounded) {
  auto progress = accepted();
  for (uint32_t i = 0; i < 3 * RequestProgress::kReplaysMax; ++i) {
    ASSERT_EQ(hear(progress, delta(0, i, {1})), Heard::kNews);
    EXPECT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  }
}

TEST(RequestProgress, OneThatComesToNothingInCompanyIsTriedByItselfBeforeItFails) {
  auto progress = accepted();
  for (uint32_t i = 0; i < 10 * RequestProgress::kReplaysMax; ++i) {
    EXPECT_TRUE(progress.on_runner_died(Blame::kNobody, false));
    EXPECT_EQ(progress.is_in_vain(), i >= RequestProgress::kInVainMax);
  }
  ASSERT_EQ(hear(progress, delta(0, 0, {1})), Heard::kNews);
  EXPECT_FALSE(progress.is_in_vain());
}

TEST(RequestProgress, EvenInnocentReplaysAreBounded) {
  auto progress = accepted();
  for (uint32_t i = 0; i < RequestProgress::kReplaysMax; ++i)
    EXPECT_TRUE(progress.on_runner_died(Blame::kNobody, true));
  EXPECT_FALSE(progress.on_runner_died(Blame::kNobody, true));
}

}  // namespace
}  // namespace deepserve::daemon
