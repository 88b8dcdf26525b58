#include "daemon/supervise/rank_deaths.h"

#include <gtest/gtest.h>

#include <csignal>

namespace deepserve::daemon {
namespace {

DeathFacts by_signal(int signal) {
  DeathFacts facts;
  facts.signal = signal;
  facts.was_ready = true;
  return facts;
}

DeathFacts killed_by_us() {
  DeathFacts facts = by_signal(SIGKILL);
  facts.signalled_by_us = true;
  return facts;
}

DeathFacts reported(Code code, std::string message) {
  DeathFacts facts;
  facts.exited = true;
  facts.exit_status = 1;
  facts.was_ready = true;
  facts.reported = Error{code, std::move(message)};
  return facts;
}

TEST(RankDeaths, OfOneProcessIsThatProcesssDeath) {
  RankDeaths deaths;
  deaths.begin(1);
  EXPECT_FALSE(deaths.any());
  deaths.add(0, by_signal(SIGSEGV), false);
  EXPECT_TRUE(deaths.all());
  EXPECT_EQ(deaths.verdict().text, classify_death(by_signal(SIGSEGV)).text);
}

TEST(RankDeaths, AreOverWhenAllProcessesHaveEnded) {
  RankDeaths deaths;
  deaths.begin(3);
  deaths.add(2, by_signal(SIGKILL), false);
  deaths.add(0, killed_by_us(), true);
  EXPECT_TRUE(deaths.any());
  EXPECT_FALSE(deaths.all());
  deaths.add(1, killed_by_us(), true);
  EXPECT_TRUE(deaths.all());
  deaths.begin(3);
  EXPECT_FALSE(deaths.any());
}

TEST(RankDeaths, WhoWasKilledWithTheGroupExplainsNothing) {
  RankDeaths deaths;
  deaths.begin(2);
  deaths.add(1, by_signal(SIGKILL), false);
  deaths.add(0, killed_by_us(), true);
  const Death verdict = deaths.verdict();
  EXPECT_EQ(verdict.blame, Blame::kNobody);
  EXPECT_EQ(verdict.reason, "killed");
  EXPECT_EQ(verdict.text, "rank 1 of 2: was killed from outside (SIGKILL)");
}

TEST(RankDeaths, WhoLostAPeerExplainsNothingWhereThePeersDeathIsKnown) {
  RankDeaths deaths;
  deaths.begin(2);
  deaths.add(0, reported(Code::kRunnerLost, "rank 1 of 2 (pid 7) has died"), false);
  deaths.add(1, by_signal(SIGSEGV), false);
  EXPECT_EQ(deaths.verdict().reason, "crash");
  EXPECT_EQ(deaths.verdict().blame, Blame::kRunner);
}

TEST(RankDeaths, AHungPeerIsToldByWhoLostIt) {
  RankDeaths deaths;
  deaths.begin(2);
  deaths.add(0, reported(Code::kRunnerLost, "rank 1 of 2 (pid 7) hangs"), false);
  deaths.add(1, killed_by_us(), true);
  EXPECT_EQ(deaths.verdict().text, "rank 0 of 2: rank 1 of 2 (pid 7) hangs");
  EXPECT_EQ(deaths.verdict().blame, Blame::kRunner);
}

TEST(RankDeaths, ARefusalOfTheModelIsPermanentWhicheverRankSaysIt) {
  RankDeaths deaths;
  deaths.begin(2);
  DeathFacts refusal = reported(Code::kInvalidConfig, "2 key-value heads cannot be spread over 3 ranks");
  refusal.was_ready = false;
  deaths.add(1, refusal, false);
  deaths.add(0, killed_by_us(), true);
  EXPECT_TRUE(deaths.verdict().permanent);
  EXPECT_EQ(deaths.verdict().reason, "refused");
}

TEST(RankDeaths, WhatTheOperatorEndedIsTheOperators) {
  RankDeaths deaths;
  deaths.begin(2);
  deaths.add(0, killed_by_us(), false);
  deaths.add(1, killed_by_us(), false);
  EXPECT_EQ(deaths.verdict().reason, "operator");
}

}  // namespace
}  // namespace deepserve::daemon
