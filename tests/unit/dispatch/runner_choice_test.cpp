#include "daemon/dispatch/runner_choice.h"

#include <gtest/gtest.h>

#include <vector>

namespace deepserve::daemon {
namespace {

RunnerLoad load(uint32_t sequences, uint32_t sequences_max = 8, uint32_t blocks = 100) {
  return {true, false, sequences, sequences_max, blocks};
}

TEST(RunnerChoice, TakesTheOneWithTheSmallestPartTaken) {
  EXPECT_EQ(choose_runner(std::vector{load(4), load(2), load(3)}, 1), 1u);
  EXPECT_EQ(choose_runner(std::vector{load(2, 4), load(3, 16)}, 1), 1u);
}

TEST(RunnerChoice, FreeBlocksDecideBetweenEquals) {
  EXPECT_EQ(choose_runner(std::vector{load(2, 8, 10), load(2, 8, 20)}, 1), 1u);
  EXPECT_EQ(choose_runner(std::vector{load(2), load(2)}, 1), 0u);
}

TEST(RunnerChoice, NobodyWithoutRoom) {
  auto loading = load(0);
  loading.ready = false;
  auto stuck = load(0);
  stuck.outbox_full = true;
  EXPECT_EQ(choose_runner(std::vector{loading, stuck, load(8)}, 1), std::nullopt);
  EXPECT_EQ(choose_runner({}, 1), std::nullopt);
}

TEST(RunnerChoice, ManyChoicesNeedManySequencesOrAnEmptyRunner) {
  EXPECT_EQ(choose_runner(std::vector{load(5)}, 4), std::nullopt);
  EXPECT_EQ(choose_runner(std::vector{load(4)}, 4), 0u);
  EXPECT_EQ(choose_runner(std::vector{load(1)}, 100), std::nullopt);
  EXPECT_EQ(choose_runner(std::vector{load(0)}, 100), 0u);
}

}  // namespace
}  // namespace deepserve::daemon
