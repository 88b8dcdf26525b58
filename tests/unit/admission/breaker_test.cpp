#include "daemon/admission/breaker.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

using Passage = Breaker::Passage;
using State = BreakerState;
using Event = BreakerEvent;
using Rule = BreakerRule;

uint64_t at(double seconds) {
  return 1000 * kSecond_ns + static_cast<uint64_t>(seconds * 1e9);
}

Breaker opened() {
  Breaker breaker;
  for (int i = 0; i < 5; ++i) breaker.failed(false, at(0));
  return breaker;
}

TEST(Breaker, FiveFailuresInARowOpenItAndFourDoNot) {
  Breaker breaker;
  for (int i = 0; i < 4; ++i) breaker.failed(false, at(0));
  EXPECT_EQ(breaker.ask(at(0)), Passage::kPasses);
  breaker.failed(false, at(0));
  EXPECT_EQ(breaker.ask(at(0)), Passage::kBlocked);
  EXPECT_EQ(breaker.opened_total(), 1u);
}

TEST(Breaker, ASuccessInBetweenStartsTheCountAnew) {
  Breaker breaker;
  for (int i = 0; i < 100; ++i) {
    if (i % 4 == 0) breaker.succeeded(false, at(0));
    breaker.failed(false, at(0));
  }
  EXPECT_EQ(breaker.state(at(0)), State::kClosed);
}

TEST(Breaker, FromFiveSecondsOnOneProbeAtATimePasses) {
  Breaker breaker = opened();
  EXPECT_EQ(breaker.ask(at(4.9)), Passage::kBlocked);
  EXPECT_EQ(breaker.ask(at(5)), Passage::kIsProbe);
  EXPECT_EQ(breaker.ask(at(5)), Passage::kBlocked);
}

TEST(Breaker, AProbeThatEndsWellClosesIt) {
  Breaker breaker = opened();
  ASSERT_EQ(breaker.ask(at(5)), Passage::kIsProbe);
  breaker.succeeded(true, at(6));
  EXPECT_EQ(breaker.ask(at(6)), Passage::kPasses);
  breaker.failed(false, at(6));
  EXPECT_EQ(breaker.ask(at(6)), Passage::kPasses);
}

TEST(Breaker, AProbeThatFailsOpensItAnew) {
  Breaker breaker = opened();
  ASSERT_EQ(breaker.ask(at(5)), Passage::kIsProbe);
  breaker.failed(true, at(6));
  EXPECT_EQ(breaker.ask(at(10.9)), Passage::kBlocked);
  EXPECT_EQ(breaker.ask(at(11)), Passage::kIsProbe);
}

TEST(Breaker, AProbeWithoutAVerdictMakesRoomForAnother) {
  Breaker breaker = opened();
  ASSERT_EQ(breaker.ask(at(5)), Passage::kIsProbe);
  breaker.probe_lost(at(6));
  EXPECT_EQ(breaker.ask(at(6)), Passage::kIsProbe);
}

TEST(Breaker, WithoutAnyVerdictItClosesOnTrialAfterThirtySeconds) {
  Breaker breaker = opened();
  EXPECT_EQ(breaker.ask(at(30)), Passage::kPasses);
  breaker.failed(false, at(30));
  EXPECT_EQ(breaker.ask(at(30)), Passage::kBlocked);
}

TEST(Breaker, WhatBeganBeforeItOpenedSaysNothing) {
  Breaker breaker = opened();
  breaker.succeeded(false, at(1));
  EXPECT_EQ(breaker.ask(at(1)), Passage::kBlocked);
  ASSERT_EQ(breaker.ask(at(5)), Passage::kIsProbe);
  breaker.succeeded(false, at(5));
  breaker.failed(false, at(5));
  EXPECT_EQ(breaker.state(at(5)), State::kHalfOpen);
}

TEST(Breaker, AnotherGenerationBeginsWithItClosed) {
  Breaker breaker = opened();
  ASSERT_EQ(breaker.ask(at(5)), Passage::kIsProbe);
  breaker.renew();
  EXPECT_EQ(breaker.ask(at(5)), Passage::kPasses);
  breaker.failed(true, at(6));  // of the probe that went to the one before
  EXPECT_EQ(breaker.ask(at(6)), Passage::kPasses);
  EXPECT_EQ(breaker.opened_total(), 1u);
}

TEST(Breaker, SaysWhenABlockedRequestMayPass) {
  Breaker breaker;
  EXPECT_EQ(breaker.passes_in_ms(at(0)), 0u);
  breaker = opened();
  EXPECT_EQ(breaker.passes_in_ms(at(1)), 4'000u);
  ASSERT_EQ(breaker.ask(at(5)), Passage::kIsProbe);
  EXPECT_EQ(breaker.passes_in_ms(at(6)), 24'000u);
}

TEST(Breaker, AClockThatGoesBackOpensNothingAndClosesNothing) {
  Breaker breaker = opened();
  EXPECT_EQ(breaker.ask(0), Passage::kBlocked);
  EXPECT_EQ(breaker.ask(at(5)), Passage::kIsProbe);
}

TEST(Breaker, EveryCellOfTheTableIsWhatItShouldBe) {
  const auto expected = [](State state, Event event) {
    if (state == State::kClosed && event == Event::kSuccess) return Rule::kForget;
    if (state == State::kClosed && event == Event::kFailure) return Rule::kCountOne;
    if (state == State::kOpen && event == Event::kProbeTime) return Rule::kHalfOpen;
    if (state != State::kClosed && event == Event::kOver) return Rule::kCloseOnTrial;
    if (state == State::kHalfOpen && event == Event::kProbeSuccess) return Rule::kClose;
    if (state == State::kHalfOpen && event == Event::kProbeFailure) return Rule::kTrip;
    if (state == State::kHalfOpen && event == Event::kProbeLost) return Rule::kFreeProbe;
    return Rule::kIgnore;
  };
  for (size_t state = 0; state < static_cast<size_t>(State::kCount); ++state) {
    for (size_t event = 0; event < static_cast<size_t>(Event::kCount); ++event) {
      const auto s = static_cast<State>(state);
      const auto e = static_cast<Event>(event);
      EXPECT_EQ(breaker_rule(s, e), expected(s, e)) << breaker_state_name(s) << " x " << event;
    }
  }
}

}  // namespace
}  // namespace deepserve::daemon
