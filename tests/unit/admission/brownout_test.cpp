#include "daemon/admission/brownout.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace deepserve::daemon {
namespace {

using Level = BrownoutLevel;
constexpr uint64_t kStep_ns = kSecond_ns / 4;

// Lets `seconds` pass in one condition; the levels on the way.
std::vector<Level> pass(BrownoutLadder& ladder, uint64_t& now_ns, double seconds, bool vip_misses,
                        bool is_shedding) {
  std::vector<Level> levels;
  for (int i = 0; i < static_cast<int>(seconds * 4); ++i) {
    if (ladder.step(vip_misses, is_shedding, now_ns)) levels.push_back(ladder.level());
    now_ns += kStep_ns;
  }
  return levels;
}

TEST(Brownout, OneStepForEachSecondOfTroubleUntilNothingButVipIsServed) {
  BrownoutLadder ladder;
  uint64_t now_ns = kSecond_ns;
  EXPECT_EQ(pass(ladder, now_ns, 10, true, true),
            (std::vector{Level::kPauseBatch, Level::kCapTokens, Level::kVipOnly}));
}

TEST(Brownout, OneStepBackForEachFiveSecondsWithout) {
  BrownoutLadder ladder;
  uint64_t now_ns = kSecond_ns;
  pass(ladder, now_ns, 4, true, true);
  EXPECT_EQ(pass(ladder, now_ns, 5, false, true), std::vector<Level>{});
  EXPECT_EQ(pass(ladder, now_ns, 1, false, true), std::vector{Level::kCapTokens});
  EXPECT_EQ(pass(ladder, now_ns, 20, false, false), (std::vector{Level::kPauseBatch, Level::kNone}));
}

TEST(Brownout, TroubleThatComesAndGoesWithinASecondChangesNothing) {
  BrownoutLadder ladder;
  uint64_t now_ns = kSecond_ns;
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(pass(ladder, now_ns, 0.75, true, true).empty());
    EXPECT_TRUE(pass(ladder, now_ns, 0.25, false, true).empty());
  }
}

TEST(Brownout, PlainOverloadAndLateVipsWithoutSheddingAreNoTrouble) {
  BrownoutLadder ladder;
  uint64_t now_ns = kSecond_ns;
  EXPECT_TRUE(pass(ladder, now_ns, 60, false, true).empty());
  EXPECT_TRUE(pass(ladder, now_ns, 60, true, false).empty());
}

TEST(Brownout, StepsThatAreSwitchedOnComeBeforeVipOnly) {
  BrownoutLadder ladder({.substitute = true, .truncate = true});
  uint64_t now_ns = kSecond_ns;
  EXPECT_EQ(pass(ladder, now_ns, 10, true, true),
            (std::vector{Level::kPauseBatch, Level::kCapTokens, Level::kSubstitute, Level::kTruncate,
                         Level::kVipOnly}));
  EXPECT_EQ(pass(ladder, now_ns, 6, false, false), std::vector{Level::kTruncate});
}

TEST(Brownout, EachLevelIsReachedAndLeftByOneStepOfTheTable) {
  for (const bool substitute : {false, true}) {
    for (const bool truncate : {false, true}) {
      BrownoutLadder ladder({substitute, truncate});
      uint64_t now_ns = kSecond_ns;
      auto up = pass(ladder, now_ns, 20, true, true);
      auto down = pass(ladder, now_ns, 60, false, false);
      ASSERT_EQ(up.size(), down.size());
      EXPECT_EQ(up.back(), Level::kVipOnly);
      EXPECT_EQ(down.back(), Level::kNone);
    }
  }
}

TEST(Brownout, IsAnnouncedToThoseWhomItChanges) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < static_cast<size_t>(Level::kCount); ++i) {
    const auto level = static_cast<Level>(i);
    names.insert(brownout_level_name(level));
    EXPECT_EQ(brownout_announcement(level, ipc::Class::kVip), "");
    EXPECT_EQ(brownout_announcement(level, ipc::Class::kNormal).empty(), level < Level::kCapTokens);
    EXPECT_EQ(brownout_announcement(level, ipc::Class::kBatch).empty(), level < Level::kPauseBatch);
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(Level::kCount));
}

}  // namespace
}  // namespace deepserve::daemon
