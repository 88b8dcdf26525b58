#include "runner/lane/memory_nodes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/model/temporary_directory.h"

namespace deepserve::runner {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(MemoryNodes, AreThoseThatTheCoresLinkTo) {
  const TemporaryDirectory directory;
  for (const char* path :
       {"cpu0/node0", "cpu1/node1", "cpu1/power", "cpu2/node1", "cpu3/node12", "cpu4/nodes"})
    std::filesystem::create_directories(directory.path() / path);
  const auto nodes = [&](std::vector<uint32_t> cores) { return memory_nodes(cores, directory.path()); };
  EXPECT_THAT(nodes({2, 0, 1}), ElementsAre(0, 1));
  EXPECT_THAT(nodes({1, 2}), ElementsAre(1));
  EXPECT_THAT(nodes({3, 0}), ElementsAre(0, 12));
  EXPECT_THAT(nodes({4, 99}), IsEmpty());
}

TEST(MemoryNodes, SpreadingMemoryHarmsNoHost) {
  spread_memory_over_nodes();
  EXPECT_EQ(std::vector<int>(1 << 20, 7).back(), 7);
}

}  // namespace
}  // namespace deepserve::runner
