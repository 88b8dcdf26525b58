#include "daemon/supervise/memory_wait.h"

#include <gtest/gtest.h>

namespace deepserve::daemon {
namespace {

using V = MemoryWait::Verdict;
constexpr uint64_t kGiB = uint64_t{1} << 30;

TEST(MemoryWait, NobodyWaitsWhereNoProcessHasEnded) {
  EXPECT_EQ(MemoryWait().step(5, 8 * kGiB, 0), V::kGo);
}

TEST(MemoryWait, WaitsUntilWhatIsNeededIsSeenFree) {
  MemoryWait wait;
  wait.begin(kSecond_ns);
  EXPECT_EQ(wait.step(2 * kSecond_ns, 8 * kGiB, kGiB), V::kWait);
  EXPECT_EQ(wait.step(3 * kSecond_ns, 8 * kGiB, 8 * kGiB), V::kGo);
  EXPECT_EQ(wait.step(4 * kSecond_ns, 8 * kGiB, kGiB), V::kGo) << "it is over";
}

TEST(MemoryWait, WhereNobodyCanTellNobodyWaits) {
  MemoryWait wait;
  wait.begin(kSecond_ns);
  EXPECT_EQ(wait.step(kSecond_ns, 8 * kGiB, std::nullopt), V::kGo);
}

TEST(MemoryWait, IsBounded) {
  MemoryWait wait;
  wait.begin(kSecond_ns);
  EXPECT_EQ(wait.step(kSecond_ns + MemoryWait::kLimit_ns - 1, 8 * kGiB, kGiB), V::kWait);
  EXPECT_EQ(wait.step(kSecond_ns + MemoryWait::kLimit_ns, 8 * kGiB, kGiB), V::kGoLate);
  EXPECT_EQ(wait.step(kSecond_ns + MemoryWait::kLimit_ns, 8 * kGiB, kGiB), V::kGo) << "it is said once";
}

}  // namespace
}  // namespace deepserve::daemon
