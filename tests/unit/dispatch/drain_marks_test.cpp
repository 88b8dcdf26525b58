#include "daemon/dispatch/drain_marks.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

TEST(DrainMarks, ADrainedModelTakesNothingAndTheOthersDo) {
  DrainMarks marks;
  marks.mark_model(1, true);
  EXPECT_TRUE(marks.takes(0));
  EXPECT_FALSE(marks.takes(1));
  marks.mark_model(1, false);
  EXPECT_TRUE(marks.takes(1));
}

TEST(DrainMarks, ADrainedHostTakesNothingWhateverIsResumedBelowIt) {
  DrainMarks marks;
  marks.mark_host(true);
  marks.mark_model(0, false);
  EXPECT_FALSE(marks.takes(0));
  marks.mark_host(false);
  EXPECT_TRUE(marks.takes(0));
}

TEST(DrainMarks, AModelIsTakenThoughARunnerOfItIsDrained) {
  DrainMarks marks;
  marks.mark_runner("tiny@cpu0", true);
  EXPECT_TRUE(marks.runner("tiny@cpu0"));
  EXPECT_FALSE(marks.runner("tiny@cpu1"));
  EXPECT_TRUE(marks.takes(0));
}

}  // namespace
}  // namespace deepserve::daemon
