#include "daemon/supervise/supervision.h"

#include <gtest/gtest.h>

#include <csignal>
#include <map>

#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

using E = RunnerEvent;
using S = RunnerStatus;

const Death kCrash{Blame::kRunner, false, "crash", "was ended by SIGSEGV"};
const Death kKilled{Blame::kNobody, false, "killed", "was killed from outside (SIGKILL)"};
const Death kRefused{Blame::kRunner, true, "refused", "x.gguf is no GGUF file"};

class RunnerSupervision : public ::testing::Test {
 protected:
  RunnerActions step(E event, const Death* death = nullptr) {
    return supervision_.step(event, now_ns_, death);
  }
  RunnerActions die(const Death& death) { return step(E::kDied, &death); }
  void become_ready() {
    step(E::kStart);
    step(E::kLoading);
    step(E::kReady);
    ASSERT_EQ(supervision_.status(), S::kReady);
  }
  // Lets the timer expire that must be running; how far away it was.
  uint64_t expire() {
    EXPECT_NE(supervision_.timer_at_ns(), 0u);
    const uint64_t waited_ns = supervision_.timer_at_ns() - now_ns_;
    now_ns_ = supervision_.timer_at_ns();
    last_ = step(E::kTimer);
    return waited_ns;
  }

  uint64_t now_ns_ = 1000 * kSecond_ns;
  Supervision supervision_{{.deaths_max = 5, .window_ns = 60 * kSecond_ns}};
  RunnerActions last_;
};

TEST_F(RunnerSupervision, DeathsOfWhichARequestWasTheCauseCountNoMore) {
  become_ready();
  for (int found = 0; found < 4; ++found) {
    for (int deaths = 0; deaths < 3; ++deaths) {
      if (!die(kCrash).spawn) expire();
      ASSERT_EQ(supervision_.status(), S::kStarting);
    }
    supervision_.absolve();
  }
}

TEST_F(RunnerSupervision, GoesOnWhereTheRecordOfAnotherDsdEnds) {
  become_ready();
  die(kCrash);
  die(kCrash);
  EXPECT_EQ(supervision_.status(), S::kBackoff);
  const auto record = supervision_.record();
  Supervision next{{.deaths_max = 5, .window_ns = 60 * kSecond_ns}};
  next.resume(record);
  EXPECT_EQ(next.record(), record);
  EXPECT_FALSE(next.step(E::kStart, now_ns_).spawn);  // it waits as it did
  EXPECT_EQ(next.timer_at_ns(), supervision_.timer_at_ns());
  now_ns_ = next.timer_at_ns();
  EXPECT_TRUE(next.step(E::kTimer, now_ns_).spawn);
  EXPECT_EQ(next.restarts(), record.restarts + 1);
  for (int i = 0; i < 4; ++i) {
    now_ns_ = std::max(now_ns_, next.timer_at_ns());
    next.step(E::kDied, now_ns_, &kCrash);
    next.step(E::kTimer, now_ns_);
  }
  EXPECT_EQ(next.status(), S::kFailed);
  Supervision third{{.deaths_max = 5, .window_ns = 60 * kSecond_ns}};
  third.resume(next.record());
  third.step(E::kStart, now_ns_);
  EXPECT_EQ(third.status(), S::kFailed);
  EXPECT_TRUE(third.step(E::kRestart, now_ns_).spawn);
}

TEST_F(RunnerSupervision, RestartsAtOnceThenBacksOffDoubling) {
  Supervision patient{{.deaths_max = 100, .window_ns = 600 * kSecond_ns}};
  patient.step(E::kStart, now_ns_);
  EXPECT_TRUE(patient.step(E::kDied, now_ns_, &kCrash).spawn);
  std::vector<uint64_t> delays_ms;
  for (int i = 0; i < 8; ++i) {
    EXPECT_FALSE(patient.step(E::kDied, now_ns_, &kCrash).spawn);
    EXPECT_EQ(patient.status(), S::kBackoff);
    delays_ms.push_back((patient.timer_at_ns() - now_ns_) / kMillisecond_ns);
    now_ns_ = patient.timer_at_ns();
    EXPECT_TRUE(patient.step(E::kTimer, now_ns_).spawn);
  }
  EXPECT_EQ(delays_ms, (std::vector<uint64_t>{500, 1000, 2000, 4000, 8000, 16'000, 30'000, 30'000}));
  EXPECT_EQ(patient.restarts(), 9u);
}

TEST_F(RunnerSupervision, ADeviceFaultThatBlamesNobodyCountsAllTheSame) {
  const Death fault{Blame::kNobody, false, "device", "CUDA error 805 (MPS has failed): no server", 805};
  become_ready();
  for (int i = 0; i < 5; ++i) {
    if (!die(fault).spawn) expire();
    EXPECT_EQ(supervision_.last_blame(), Blame::kNobody);
  }
  die(fault);
  EXPECT_EQ(supervision_.status(), S::kFailed);
}

TEST_F(RunnerSupervision, TooManyDeathsWithinTheWindowEndInFailed) {
  step(E::kStart);
  for (int i = 0; i < 5; ++i) {
    if (!die(kCrash).spawn) expire();
  }
  EXPECT_EQ(supervision_.status(), S::kStarting);
  EXPECT_FALSE(die(kCrash).spawn);
  EXPECT_EQ(supervision_.status(), S::kFailed);
  EXPECT_FALSE(supervision_.may_become_ready());
  EXPECT_EQ(supervision_.last_error(), "was ended by SIGSEGV");
}

TEST_F(RunnerSupervision, DeathsThatAreFarApartAreForgiven) {
  become_ready();
  for (int i = 0; i < 50; ++i) {
    now_ns_ += 20 * kSecond_ns;
    if (!die(kCrash).spawn) expire();
    step(E::kReady);
    step(E::kServed);
  }
  EXPECT_EQ(supervision_.status(), S::kReady);
}

TEST_F(RunnerSupervision, ATokenOfAReadyRunnerResetsTheBackOff) {
  become_ready();
  EXPECT_TRUE(die(kCrash).spawn);
  step(E::kReady);
  step(E::kServed);
  EXPECT_TRUE(die(kCrash).spawn);
  EXPECT_FALSE(die(kCrash).spawn);
}

TEST_F(RunnerSupervision, OutsideKillsNeitherCountNorBackOffOnceItWasReady) {
  become_ready();
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(die(kKilled).spawn);
    step(E::kReady);
  }
  EXPECT_EQ(supervision_.last_blame(), Blame::kNobody);
  EXPECT_TRUE(die(kCrash).spawn);
}

TEST_F(RunnerSupervision, KilledAgainAndAgainBeforeItIsReadyItWaitsALittle) {
  step(E::kStart);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(die(kKilled).spawn);
  EXPECT_FALSE(die(kKilled).spawn);
  EXPECT_EQ(expire(), kSecond_ns / 2);
  EXPECT_TRUE(last_.spawn);
}

TEST_F(RunnerSupervision, AHungOneGetsSigtermThenSigkillAndIsBlamed) {
  become_ready();
  EXPECT_EQ(step(E::kStoodStill).signal, SIGTERM);
  EXPECT_EQ(supervision_.status(), S::kHung);
  EXPECT_EQ(expire(), 2 * kSecond_ns);
  EXPECT_EQ(last_.signal, SIGKILL);
  EXPECT_TRUE(die(kKilled).spawn);
  EXPECT_EQ(supervision_.last_blame(), Blame::kRunner);
  EXPECT_EQ(supervision_.last_reason(), "hung");
}

TEST_F(RunnerSupervision, ALiarIsKilledAtOnce) {
  become_ready();
  EXPECT_EQ(step(E::kLied).signal, SIGKILL);
  EXPECT_TRUE(die(kKilled).spawn);
  EXPECT_EQ(supervision_.last_error(), "broke the lane's rules and was ended");
}

TEST_F(RunnerSupervision, APermanentRefusalFailsWithoutARestart) {
  step(E::kStart);
  EXPECT_FALSE(die(kRefused).spawn);
  EXPECT_EQ(supervision_.status(), S::kFailed);
}

TEST_F(RunnerSupervision, AnOperatorRestartsAReadyOneAndAFailedOne) {
  become_ready();
  EXPECT_EQ(step(E::kRestart).signal, SIGTERM);
  EXPECT_EQ(supervision_.status(), S::kDraining);
  EXPECT_TRUE(die(kKilled).spawn);
  EXPECT_EQ(supervision_.last_reason(), "operator");
  EXPECT_EQ(supervision_.last_blame(), Blame::kNobody);
  die(kRefused);
  EXPECT_TRUE(step(E::kRestart).spawn);
}

TEST_F(RunnerSupervision, StopEndsItForGood) {
  become_ready();
  EXPECT_EQ(step(E::kStop).signal, 0);  // it was asked over its lane
  EXPECT_EQ(expire(), kSecond_ns);
  EXPECT_EQ(last_.signal, SIGTERM);
  EXPECT_EQ(expire(), 2 * kSecond_ns);
  EXPECT_EQ(last_.signal, SIGKILL);
  EXPECT_EQ(supervision_.timer_at_ns(), 0u);
  EXPECT_FALSE(die(kKilled).spawn);
  EXPECT_EQ(supervision_.status(), S::kStopped);
}

TEST_F(RunnerSupervision, StopDuringARestartOrAHangWins) {
  become_ready();
  step(E::kRestart);
  step(E::kStop);
  EXPECT_FALSE(die(kKilled).spawn);
  EXPECT_EQ(supervision_.status(), S::kStopped);
}

TEST_F(RunnerSupervision, OneThatIsHeldWaitsWithoutATimerAndIsNoRestart) {
  EXPECT_TRUE(step(E::kStart).spawn);
  EXPECT_FALSE(step(E::kHeld).spawn);
  EXPECT_EQ(supervision_.status(), S::kBackoff);
  EXPECT_EQ(supervision_.timer_at_ns(), 0u);
  EXPECT_TRUE(supervision_.may_become_ready());
  EXPECT_TRUE(step(E::kReleased).spawn);
  EXPECT_EQ(supervision_.status(), S::kStarting);
  EXPECT_EQ(supervision_.restarts(), 0u);
}

TEST_F(RunnerSupervision, ARestartThatIsHeldCountsOnce) {
  become_ready();
  EXPECT_TRUE(die(kCrash).spawn);
  step(E::kHeld);
  step(E::kReleased);
  step(E::kHeld);
  EXPECT_TRUE(step(E::kReleased).spawn);
  EXPECT_EQ(supervision_.restarts(), 1u);
}

TEST_F(RunnerSupervision, AReleaseEndsNoBackOff) {
  become_ready();
  die(kCrash);
  die(kCrash);
  ASSERT_EQ(supervision_.status(), S::kBackoff);
  EXPECT_FALSE(step(E::kReleased).spawn);
  EXPECT_EQ(supervision_.status(), S::kBackoff);
  EXPECT_NE(supervision_.timer_at_ns(), 0u);
}

TEST_F(RunnerSupervision, OneWhoseDeviceIsTakenIsEndedAndStartedAnewWithoutBlame) {
  become_ready();
  EXPECT_EQ(step(E::kDeviceLost).signal, SIGTERM);
  expire();
  EXPECT_EQ(last_.signal, SIGKILL);
  EXPECT_TRUE(die(kKilled).spawn);
  EXPECT_EQ(supervision_.last_blame(), Blame::kNobody);
  EXPECT_EQ(supervision_.last_reason(), "device");
  EXPECT_EQ(supervision_.last_error(), "ended, as its device was taken from it");
}

TEST_F(RunnerSupervision, WhatWasStoppedMayBeStartedAgain) {
  become_ready();
  step(E::kStop);
  EXPECT_FALSE(die(kKilled).spawn);
  EXPECT_TRUE(step(E::kStart).spawn);
  step(E::kReady);
  EXPECT_TRUE(die(kKilled).spawn);
}

TEST_F(RunnerSupervision, AnAdoptedProcessIsNoRestartAndItsDeathIsFollowedByOne) {
  const auto actions = step(E::kAdopt);
  EXPECT_FALSE(actions.spawn);
  EXPECT_EQ(supervision_.status(), S::kStarting);
  step(E::kReady);
  EXPECT_EQ(supervision_.restarts(), 0u);
  EXPECT_TRUE(die(kKilled).spawn);
  EXPECT_EQ(supervision_.restarts(), 1u);
}

// Rows: status; columns: event, in the enum's order. Initials of RunnerRule:
// . ignore, S spawn, L loading, Y ready, F forgive, H end hung, X end liar, R end for restart, E end for
// stop, K kill, s stop wanted, r restart wanted, B bury, Z stopped, A take over, W hold, w spawn if held, D
// end for its device
const std::map<S, std::string> kExpected = {
    {S::kStopped, "S.......S.A..."}, {S::kStarting, ".LY.HXB.RE.W.D"}, {S::kLoading, ".LY.HXB.RE...D"},
    {S::kReady, "...FHXB.RE...D"},   {S::kDraining, ".....KBKrs...."}, {S::kHung, ".....KBKrs...."},
    {S::kBackoff, ".......SSZ..w."}, {S::kFailed, "........SZ...."},
};

TEST(SupervisionTable, EveryCellIsAsItReads) {
  constexpr std::string_view kLetters = ".SLYFHXREKsrBZAWwD";
  static_assert(kLetters.size() == static_cast<size_t>(RunnerRule::kCount));
  for (const auto& [status, expected] : kExpected) {
    std::string row;
    for (int event = 0; event < static_cast<int>(E::kCount); ++event) {
      row += kLetters[static_cast<size_t>(runner_rule(status, static_cast<E>(event)))];
    }
    EXPECT_EQ(row, expected) << runner_status_name(status);
  }
  EXPECT_EQ(kExpected.size(), static_cast<size_t>(S::kCount));
}

}  // namespace
}  // namespace deepserve::daemon
