// What is drafted, and when it is expected to pay.
#include "runner/engine/draft.h"

#include <gtest/gtest.h>

#include <random>

#include "runner/engine/sequence_drafts.h"
#include "runner/engine/speculation.h"
#include "tests/unit/engine/fakes.h"

namespace deepserve::runner::testing {
namespace {

std::vector<TokenId> draft_of(const std::vector<TokenId>& tokens, uint32_t count) {
  DraftIndex index;
  EXPECT_TRUE(index.follow(tokens, 1000));
  std::vector<TokenId> draft;
  for (uint32_t i = 0; index.match().tokens > 0 && i < count; ++i) {
    draft.push_back(DraftIndex::draft_token(tokens, index.match(), i));
  }
  return draft;
}

TEST(DraftIndex, ProposesWhatFollowedTheEndsLatestEarlierOccurrence) {
  EXPECT_EQ(draft_of(letters("xabcd yabcd zabc"), 2), letters("d "));
  EXPECT_EQ(draft_of(letters("abcx abcy abc"), 2), letters("y "));
  EXPECT_EQ(draft_of(letters("abcdef"), 2), std::vector<TokenId>());
}

TEST(DraftIndex, ALongerMatchIsBetterThanALaterOne) {
  EXPECT_EQ(draft_of(letters("the cat he sat hen the"), 4), letters(" cat"));
}

TEST(DraftIndex, ALoopIsProposedToGoOn) {
  EXPECT_EQ(draft_of(letters("xabab"), 5), letters("ababa"));
  EXPECT_EQ(draft_of(letters("yaa"), 4), letters("aaaa"));
}

TEST(DraftIndex, FollowsInPiecesAsAtOnce) {
  std::mt19937_64 random(1);
  std::vector<TokenId> tokens;
  DraftIndex piecewise;
  for (int i = 0; i < 3000; ++i) {
    tokens.push_back(static_cast<TokenId>(random() % 12));
    if (random() % 4 != 0 || !piecewise.follow(tokens, 5)) continue;
    DraftIndex whole;
    ASSERT_TRUE(whole.follow(tokens, 4000));
    ASSERT_EQ(piecewise.match().tokens, whole.match().tokens);
    ASSERT_EQ(piecewise.match().next, whole.match().next);
  }
}

TEST(DraftIndex, FindsWhatASearchThroughAllFinds) {
  std::mt19937_64 random(2);
  std::vector<TokenId> tokens;
  DraftIndex index;
  for (int i = 0; i < 1500; ++i) {
    tokens.push_back(static_cast<TokenId>(random() % 30));
    ASSERT_TRUE(index.follow(tokens, 1));
    DraftMatch want;
    for (uint32_t n = 1; n <= 3 && n < tokens.size(); ++n) {
      for (size_t end = tokens.size() - 1; end >= n; --end) {
        if (!std::equal(tokens.end() - n, tokens.end(), tokens.begin() + static_cast<ptrdiff_t>(end - n)))
          continue;
        want = {n, static_cast<uint32_t>(end)};
        break;
      }
    }
    ASSERT_EQ(index.match().tokens, want.tokens);
    ASSERT_EQ(want.tokens == 0 ? 0 : index.match().next, want.next);
  }
}

TEST(SequenceDrafts, LearnFromEveryTokenWhetherItsDraftWasRunOrNot) {
  SequenceDrafts drafts;
  auto tokens = letters("abcabcabcabc");
  ASSERT_TRUE(drafts.index.follow(tokens, 100));
  drafts.propose(tokens);
  const double before = drafts.history.hit_rate(3);
  for (const TokenId token : letters("abcabc")) drafts.learn(token);
  const double after = drafts.history.hit_rate(3);
  EXPECT_GT(after, before + 0.3);
  drafts.learn(letter('z'));
  drafts.learn(letter('z'));  // its draft was wrong before: says nothing
  EXPECT_NEAR(drafts.history.hit_rate(3), after * 0.9, 1e-9);
}

// Steps of a device whose steps of `rows` take seconds(rows).
template <typename Seconds>
StepCosts measured(Seconds seconds, std::initializer_list<uint32_t> rows) {
  StepCosts costs;
  for (int i = 0; i < 3; ++i) {
    for (const uint32_t one : rows) costs.add(one, seconds(one));
  }
  return costs;
}

uint32_t drafted(const StepCosts& costs, uint32_t sequences, double hit_rate) {
  DraftPlanner planner(costs);
  planner.begin(sequences);
  return planner.tokens(hit_rate, 100);
}

TEST(DraftPlanner, DraftsLongWhereRowsAreFreeAndDraftsComeTrue) {
  const auto costs = measured([](uint32_t) { return 0.01; }, {1, 2, 4, 8, 16});
  EXPECT_EQ(drafted(costs, 1, 0.95), 15u);
  EXPECT_GT(drafted(costs, 1, 0.3), 0u);
  EXPECT_EQ(drafted(costs, 1, 0.01), 0u);  // not worth the noise
}

TEST(DraftPlanner, DraftsNothingWhereARowCostsWhatItGives) {
  const auto costs = measured([](uint32_t rows) { return 0.01 * rows; }, {1, 2, 4, 8, 16});
  for (const double rate : {0.1, 0.5, 0.99}) EXPECT_EQ(drafted(costs, 1, rate), 0u) << rate;
}

TEST(DraftPlanner, WeighsWhatADraftGivesOneAgainstWhatItCostsAll) {
  const auto seconds = [](uint32_t rows) { return 0.01 + 0.001 * rows; };
  const auto costs = measured(seconds, {1, 2, 4, 8, 9, 11, 15, 16, 23, 32, 33, 35, 39, 47});
  EXPECT_GT(drafted(costs, 1, 0.5), 0u);
  EXPECT_EQ(drafted(costs, 32, 0.5), 0u);
  EXPECT_GT(drafted(costs, 8, 0.9), 0u);
}

TEST(DraftPlanner, NeitherDraftsOnHearsayNorBeyondItsRows) {
  EXPECT_EQ(drafted(StepCosts(), 1, 0.9), 0u);  // what a step takes without is not known
  auto costs = measured([](uint32_t) { return 0.01; }, {1, 4});
  EXPECT_GT(drafted(costs, 1, 0.9), 0u);
  for (int step = 0; step < 200; ++step) costs.add(4, 0.01);
  EXPECT_EQ(drafted(costs, 1, 0.9), 0u);  // nor is what it takes now
  EXPECT_EQ(drafted(measured([](uint32_t) { return 0.01; }, {StepCosts::kRowsMax}), StepCosts::kRowsMax, 1.0),
            0u);
  DraftPlanner planner(costs);
  planner.begin(4, true);
  planner.add(DraftPlanner::kRowsMax - 2, 1.0);
  EXPECT_EQ(planner.tokens(1.0, 100), 2u);
}

TEST(StepCosts, OneSlowStepIsForgottenAndALastingChangeIsNot) {
  StepCosts costs;
  for (int i = 0; i < 10; ++i) costs.add(4, 0.01);
  costs.add(4, 1.0);
  EXPECT_LT(costs.seconds(4), 0.0121);
  for (int i = 0; i < 60; ++i) costs.add(4, 0.02);
  EXPECT_NEAR(costs.seconds(4), 0.02, 0.001);
}

TEST(StepCosts, UnknownRowsLieBetweenTheirNeighbours) {
  const auto costs = measured([](uint32_t rows) { return rows * 0.01; }, {2, 6});
  EXPECT_NEAR(costs.seconds(4), 0.04, 0.001);
  EXPECT_EQ(costs.seconds(1), 0.0);  // a step of less was never seen
  EXPECT_GT(costs.seconds(7), 0.059);
}

}  // namespace
}  // namespace deepserve::runner::testing
