#include "daemon/supervise/oom_count.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

uint64_t kills = 0;

TEST(OomWatch, AKillOfLongAgoSaysNothingOfADeathOfToday) {
  OomWatch watch([] { return kills; });
  watch.reset(0);
  ++kills;
  EXPECT_TRUE(watch.rose());
  watch.tick(OomWatch::kRefresh_ns);
  EXPECT_TRUE(watch.rose()) << "a large process takes a while to go";
  watch.tick(2 * OomWatch::kRefresh_ns);
  EXPECT_FALSE(watch.rose());
  ++kills;
  EXPECT_TRUE(watch.rose());
}

}  // namespace
}  // namespace deepserve::daemon
