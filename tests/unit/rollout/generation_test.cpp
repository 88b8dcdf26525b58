#include "daemon/rollout/generation.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace deepserve::daemon {
namespace {

using E = GenerationEvent;
using S = GenerationState;

// What every cell is to be, by the words of DESIGN 9.
S expected(S state, E event, GenerationRule& rule) {
  const auto go = [&rule](S next) {
    rule = GenerationRule::kGo;
    return next;
  };
  rule = GenerationRule::kStay;
  const bool over = state == S::kRetired || state == S::kFailed;
  const bool comes_up = state == S::kLoading || state == S::kWarming;
  switch (event) {
    case E::kLoad:
      if (state == S::kAbsent) return go(S::kLoading);
      break;
    case E::kWarm:
      if (state == S::kLoading) return go(S::kWarming);
      if (state != S::kAbsent) return state;
      break;
    case E::kReady:
      if (comes_up) return go(S::kReady);
      if (state != S::kAbsent) return state;
      break;
    case E::kTryOut:
      if (state == S::kReady || state == S::kShadow) return go(S::kCanary);
      if (state == S::kCanary) return state;
      break;
    case E::kMirror:
      if (state == S::kReady || state == S::kCanary) return go(S::kShadow);
      if (state == S::kShadow) return state;
      break;
    case E::kRoute:
      if (comes_up || state == S::kLive) return state;
      if (state != S::kAbsent && !over) return go(S::kLive);
      break;
    case E::kUnroute:
      if (state == S::kCanary || state == S::kShadow || state == S::kLive) return go(S::kDraining);
      if (state != S::kAbsent) return state;
      break;
    case E::kDrained:
      if (state == S::kDraining) return go(S::kReady);
      if (state != S::kAbsent && !comes_up) return state;
      break;
    case E::kRetire:
      return over ? state : go(S::kRetired);
    case E::kFail:
      return over ? state : go(S::kFailed);
    case E::kCount:
      break;
  }
  rule = GenerationRule::kImpossible;
  return state;
}

TEST(Generation, EveryCellIsAsDesigned) {
  for (int s = 0; s < static_cast<int>(S::kCount); ++s) {
    for (int e = 0; e < static_cast<int>(E::kCount); ++e) {
      const auto state = static_cast<S>(s);
      GenerationRule rule{};
      const S next = expected(state, static_cast<E>(e), rule);
      const auto cell = generation_cell(state, static_cast<E>(e));
      EXPECT_EQ(cell.rule, rule) << generation_state_name(state) << " at event " << e;
      if (rule == GenerationRule::kGo) {
        EXPECT_EQ(cell.next, next) << generation_state_name(state) << " at event " << e;
      }
    }
  }
}

TEST(Generation, EveryStateHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (int s = 0; s < static_cast<int>(S::kCount); ++s)
    names.insert(generation_state_name(static_cast<S>(s)));
  EXPECT_EQ(names.size(), static_cast<size_t>(S::kCount));
}

TEST(Generation, WhatIsOverHasNoWayBack) {
  for (const S over : {S::kRetired, S::kFailed}) {
    EXPECT_TRUE(generation_is_over(over));
    for (int e = 0; e < static_cast<int>(E::kCount); ++e) {
      EXPECT_NE(generation_cell(over, static_cast<E>(e)).rule, GenerationRule::kGo);
    }
  }
}

}  // namespace
}  // namespace deepserve::daemon
