// How a shadow's answers compare with those that the clients got.
#include "daemon/rollout/shadow_tally.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

TEST(ShadowTally, SaysThatThereIsNothingYet) {
  EXPECT_EQ(ShadowTally().evidence(), "no answers yet; 0 failed, 0 skipped");
}

TEST(ShadowTally, CountsEqualAnswersAndWhereTheOthersPart) {
  ShadowTally tally;
  tally.compare({{1, 2, 3, 4}}, {{1, 2, 3, 4}});
  tally.compare({{1, 2, 3, 4}}, {{1, 2, 9, 4}});
  EXPECT_EQ(tally.evidence(),
            "of 2 answers 1 equal (50.0 %), 75.0 % of their tokens before they differ; 0 failed, 0 skipped");
}

TEST(ShadowTally, ComparesEachChoice) {
  ShadowTally tally;
  tally.compare({{1, 2}, {3, 4}}, {{1, 2}, {5, 4}});
  EXPECT_NE(tally.evidence().find("0 equal (0.0 %), 50.0 %"), std::string::npos) << tally.evidence();
}

TEST(ShadowTally, AShorterOrLongerAnswerIsAnother) {
  ShadowTally tally;
  tally.compare({{1, 2, 3}}, {{1, 2}});
  tally.compare({{1, 2, 3}}, {{1, 2, 3, 4}});
  tally.compare({{1, 2, 3}}, {});
  EXPECT_NE(tally.evidence().find("of 3 answers 0 equal"), std::string::npos) << tally.evidence();
  EXPECT_NE(tally.evidence().find("55.6 %"), std::string::npos) << tally.evidence();
}

TEST(ShadowTally, CountsWhatCameToNothing) {
  ShadowTally tally;
  tally.failed();
  tally.skipped();
  tally.skipped();
  EXPECT_NE(tally.evidence().find("1 failed, 2 skipped"), std::string::npos) << tally.evidence();
}

}  // namespace
}  // namespace deepserve::daemon
