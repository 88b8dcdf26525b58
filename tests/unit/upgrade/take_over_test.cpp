#include <gtest/gtest.h>

#include "daemon/upgrade/roll_back.h"
#include "daemon/upgrade/trial.h"

namespace deepserve::daemon {
namespace {

using Arguments = std::vector<std::string>;

TEST(TakeOverArgument, IsTakenOutAsItWasAdded) {
  for (const TakeOver& given : {TakeOver{7, 8, ""}, TakeOver{7, -1, ""}, TakeOver{7, -1, "it was late"}}) {
    Arguments arguments = {"dsd", "--config", "file"};
    add_take_over(arguments, given);
    const auto read = take_over_argument(arguments);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->state_fd, given.state_fd);
    EXPECT_EQ(read->old_program_fd, given.old_program_fd);
    EXPECT_EQ(read->rolled_back, given.rolled_back);
    EXPECT_EQ(arguments, (Arguments{"dsd", "--config", "file"}));
  }
}

TEST(TakeOverArgument, IsNotThereOrIsNone) {
  for (Arguments arguments : {Arguments{}, {"dsd"}, {"dsd", "--config", "file"}}) {
    const auto before = arguments;
    EXPECT_FALSE(take_over_argument(arguments));
    EXPECT_EQ(arguments, before);
  }
  for (const char* value : {"", "7", ":", "7:", ":8", "2:8", "-1:8", "7:8:9", "7:8x", "x:8"}) {
    Arguments arguments = {"dsd", "--take-over", value};
    EXPECT_FALSE(take_over_argument(arguments)) << value;
  }
}

TEST(TrialArgument, NamesTwoDescriptors) {
  Arguments arguments = {"dsd", "--config", "file", "--trial", "3:4"};
  const auto read = trial_argument(arguments);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->state, 3);
  EXPECT_EQ(read->report, 4);
  EXPECT_EQ(arguments.size(), 3u);
  for (const char* value : {"", "3", "3:", ":4", "3:4x"}) {
    Arguments other = {"dsd", "--trial", value};
    EXPECT_FALSE(trial_argument(other)) << value;
  }
}

}  // namespace
}  // namespace deepserve::daemon
