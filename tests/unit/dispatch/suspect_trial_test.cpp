#include "daemon/dispatch/suspect_trial.h"

#include <gtest/gtest.h>

#include <vector>

namespace deepserve::daemon {
namespace {

using Candidates = std::vector<SuspectTrial::Candidate>;
constexpr uint64_t kPatience_ns = SuspectTrial::kPatience_ns;

TEST(SuspectTrial, WithoutSuspectsEveryRunnerTakesEverybody) {
  SuspectTrial trial;
  trial.convene(Candidates{{0, 3}, {1, 0}}, 0);
  EXPECT_FALSE(trial.is_on());
  EXPECT_TRUE(trial.may_take(0, 3, false));
  EXPECT_TRUE(trial.may_take(1, 0, false));
}

TEST(SuspectTrial, TheCourtIsAnIdleRunnerAndTakesOneSuspectAndNobodyElse) {
  SuspectTrial trial;
  trial.wait(7, 0);
  trial.wait(8, 0);
  trial.convene(Candidates{{0, 3}, {1, 0}}, 0);
  EXPECT_TRUE(trial.may_take(0, 3, false));
  EXPECT_FALSE(trial.may_take(0, 3, true));
  EXPECT_FALSE(trial.may_take(1, 0, false));
  EXPECT_TRUE(trial.may_take(1, 0, true));
  trial.begin(7, 1);
  EXPECT_FALSE(trial.may_take(1, 1, true));
  EXPECT_FALSE(trial.may_take(1, 1, false));
}

TEST(SuspectTrial, WhoIsClearedGoesOnAtTheCourtWhileTheNextIsTried) {
  SuspectTrial trial;
  trial.wait(7, 0);
  trial.wait(8, 0);
  trial.convene(Candidates{{0, 0}}, 0);
  trial.begin(7, 0);
  trial.clear(7);
  trial.convene(Candidates{{0, 1}}, 0);
  EXPECT_FALSE(trial.may_take(0, 1, false));
  EXPECT_TRUE(trial.may_take(0, 1, true));
  trial.begin(8, 0);
  trial.leave(7);  // its answer has ended
  trial.clear(8);
  trial.convene(Candidates{{0, 1}}, 0);
  EXPECT_FALSE(trial.is_on());
  EXPECT_TRUE(trial.may_take(0, 1, false));
}

TEST(SuspectTrial, ASuspectThatEndsMakesRoomForTheNext) {
  SuspectTrial trial;
  trial.wait(7, 0);
  trial.wait(8, 0);
  trial.convene(Candidates{{0, 0}}, 0);
  trial.begin(7, 0);
  trial.leave(7);
  EXPECT_TRUE(trial.may_take(0, 0, true));
}

TEST(SuspectTrial, ABusyRunnerBecomesTheCourtOnlyAfterAWhileAndIsEmptiedFirst) {
  SuspectTrial trial;
  trial.wait(7, 100);
  trial.convene(Candidates{{0, 5}, {1, 2}}, 100);
  EXPECT_FALSE(trial.court());
  EXPECT_TRUE(trial.may_take(1, 2, false));
  trial.convene(Candidates{{0, 5}, {1, 2}}, 100 + kPatience_ns);
  EXPECT_EQ(trial.court(), 1u);
  EXPECT_FALSE(trial.may_take(1, 2, false));
  EXPECT_FALSE(trial.may_take(1, 2, true));
  EXPECT_TRUE(trial.may_take(0, 5, false));
  trial.convene(Candidates{{0, 5}, {1, 0}}, 100 + kPatience_ns);
  EXPECT_TRUE(trial.may_take(1, 0, true));
}

TEST(SuspectTrial, ARunnerThatComesIdleTakesOverFromOneThatIsStillBusy) {
  SuspectTrial trial;
  trial.wait(7, 0);
  trial.convene(Candidates{{1, 2}}, kPatience_ns);
  trial.convene(Candidates{{0, 0}, {1, 2}}, kPatience_ns);
  EXPECT_EQ(trial.court(), 0u);
  EXPECT_TRUE(trial.may_take(1, 2, false));
}

TEST(SuspectTrial, DiesTheCourtAllComeToWaitAgainAndAnotherOneIsFound) {
  SuspectTrial trial;
  trial.wait(7, 0);
  trial.wait(8, 0);
  trial.convene(Candidates{{0, 0}}, 0);
  trial.begin(7, 0);
  trial.clear(7);
  trial.begin(8, 0);
  trial.runner_down(0);
  for (const ipc::RequestId id : {8, 7}) trial.wait(id, 1);
  EXPECT_FALSE(trial.may_take(0, 0, true));
  trial.convene(Candidates{{1, 0}}, 1);
  EXPECT_TRUE(trial.may_take(1, 0, true));
}

TEST(SuspectTrial, TheDeathOfAnotherRunnerDisturbsNoTrial) {
  SuspectTrial trial;
  trial.wait(7, 0);
  trial.convene(Candidates{{0, 0}, {1, 4}}, 0);
  trial.begin(7, 0);
  trial.runner_down(1);
  EXPECT_EQ(trial.on_trial(), 7u);
  EXPECT_EQ(trial.court(), 0u);
}

}  // namespace
}  // namespace deepserve::daemon
