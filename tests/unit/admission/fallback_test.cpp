#include "daemon/admission/fallback.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

using Kind = FallbackKind;
using Verdict = Fallbacks::Verdict;

uint64_t at(double seconds) {
  return 1000 * kSecond_ns + static_cast<uint64_t>(seconds * 1e9);
}

void fail_often(Fallbacks& fallbacks, uint32_t model) {
  for (int i = 0; i < 5; ++i) fallbacks.ended(model, false, Verdict::kFailed, at(0));
}

// Model 0 falls back to 1 and 2; 1 to a text; 2 to nothing.
Fallbacks made() {
  return Fallbacks({{{1, 2}, false}, {{}, true}, {{}, false}});
}

const std::vector<bool> kAll = {true, true, true};

TEST(Fallback, AModelThatServesAnswersForItself) {
  auto fallbacks = made();
  const auto choice = fallbacks.choose(0, kAll, at(0));
  EXPECT_EQ(choice.kind, Kind::kItself);
  EXPECT_EQ(choice.model, 0u);
}

TEST(Fallback, TheFirstThatServesAnswersWhileTheModelOnlyFails) {
  auto fallbacks = made();
  fail_often(fallbacks, 0);
  EXPECT_EQ(fallbacks.choose(0, kAll, at(0)).model, 1u);
  EXPECT_EQ(fallbacks.choose(0, {true, false, true}, at(0)).model, 2u);
  fail_often(fallbacks, 1);
  EXPECT_EQ(fallbacks.choose(0, kAll, at(0)).kind, Kind::kModel);
  EXPECT_EQ(fallbacks.choose(0, kAll, at(0)).model, 2u);
}

TEST(Fallback, AModelWithoutRunnersIsAnsweredForAsWell) {
  auto fallbacks = made();
  EXPECT_EQ(fallbacks.choose(0, {false, true, true}, at(0)).model, 1u);
}

TEST(Fallback, ATextIsTheLastResort) {
  auto fallbacks = made();
  fail_often(fallbacks, 1);
  EXPECT_EQ(fallbacks.choose(1, kAll, at(0)).kind, Kind::kReply);
}

TEST(Fallback, WithoutAnyItSaysWhenToComeBack) {
  auto fallbacks = made();
  fail_often(fallbacks, 2);
  const auto choice = fallbacks.choose(2, kAll, at(1));
  EXPECT_EQ(choice.kind, Kind::kNobody);
  EXPECT_EQ(choice.retry_after_ms, 4'000u);
  EXPECT_EQ(fallbacks.choose(2, {true, true, false}, at(40)).retry_after_ms, 0u);
}

TEST(Fallback, AProbeGoesToTheModelItselfAndItsEndDecides) {
  auto fallbacks = made();
  fail_often(fallbacks, 0);
  const auto probe = fallbacks.choose(0, kAll, at(5));
  EXPECT_EQ(probe.kind, Kind::kItself);
  EXPECT_TRUE(probe.is_probe);
  EXPECT_EQ(fallbacks.choose(0, kAll, at(5)).kind, Kind::kModel);
  fallbacks.ended(0, true, Verdict::kSucceeded, at(6));
  EXPECT_EQ(fallbacks.choose(0, kAll, at(6)).kind, Kind::kItself);
}

TEST(Fallback, AProbeWithoutAVerdictMakesRoomForTheNext) {
  auto fallbacks = made();
  fail_often(fallbacks, 0);
  ASSERT_TRUE(fallbacks.choose(0, kAll, at(5)).is_probe);
  fallbacks.ended(0, true, Verdict::kNone, at(6));
  EXPECT_TRUE(fallbacks.choose(0, kAll, at(6)).is_probe);
}

}  // namespace
}  // namespace deepserve::daemon
