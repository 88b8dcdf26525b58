#include "daemon/config/units.h"

#include <gtest/gtest.h>

#include "daemon/config/cpuset.h"

namespace deepserve::daemon {
namespace {

TEST(Units, DurationsNeedAUnit) {
  EXPECT_EQ(parse_duration_ns("500ms").value(), 500'000'000u);
  EXPECT_EQ(parse_duration_ns("1.5s").value(), 1'500'000'000u);
  EXPECT_EQ(parse_duration_ns("2h").value(), 7'200'000'000'000u);
  for (const auto* wrong : {"", "5", "s", "-5s", "5 s", "5sec", "1e3s", "1..5s", "99999999999h"}) {
    EXPECT_FALSE(parse_duration_ns(wrong)) << wrong;
  }
}

TEST(Units, SizesKnowBinaryAndDecimal) {
  EXPECT_EQ(parse_size_bytes("8GiB").value(), 8ull << 30);
  EXPECT_EQ(parse_size_bytes("1GB").value(), 1'000'000'000u);
  for (const auto* wrong : {"8", "8G", "GiB", "-1GiB", "99999999TiB"})
    EXPECT_FALSE(parse_size_bytes(wrong)) << wrong;
}

TEST(Units, TextParsesBackToTheSameValue) {
  for (const uint64_t value : {1ull, 999ull, 60'000'000'000ull, 90'000'000'000ull, 500'000'000ull}) {
    EXPECT_EQ(parse_duration_ns(duration_text(value)).value(), value);
    EXPECT_EQ(parse_size_bytes(size_text(value)).value(), value);
  }
  EXPECT_EQ(duration_text(60'000'000'000), "1m");
  EXPECT_EQ(duration_text(0), "0s");
  EXPECT_EQ(size_text(8ull << 30), "8GiB");
}

TEST(Units, CpuListsAreTheKernels) {
  EXPECT_EQ(parse_cpu_list("0-2,8").value(), (std::vector<uint32_t>{0, 1, 2, 8}));
  EXPECT_EQ(parse_cpu_list("").value(), std::vector<uint32_t>{});
  for (const auto* wrong : {"a", "3-1", "0-", "0,,x", "0-99999999"})
    EXPECT_FALSE(parse_cpu_list(wrong)) << wrong;
  EXPECT_FALSE(host_cpuset().empty());
}

}  // namespace
}  // namespace deepserve::daemon
