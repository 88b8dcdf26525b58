#include "runner/bench/machine_limits.h"

#include <gtest/gtest.h>

#include "kernels/cpu/kernels.h"

namespace deepserve::runner {
namespace {

constexpr uint64_t kSmall_bytes = 2u << 20;

TEST(MachineLimits, AreKnownForEveryInstructionSetThatThereIs) {
  for (const char* isa : {"scalar", "avx2", "avx512"}) {
    if (kernels::find_kernels(isa) == nullptr) continue;
    const auto limits = measure_limits(isa, 1, kSmall_bytes);
    ASSERT_TRUE(limits) << limits.error().message;
    EXPECT_GT(limits->read_bytes_per_second, 1e8) << isa;
    for (const ArithmeticPeak& peak : limits->peaks) {
      EXPECT_GT(peak.operations_per_second, 1e8) << isa << " " << peak.instruction;
    }
  }
}

TEST(MachineLimits, AnotherInstructionSetIsRefusedByName) {
  const auto limits = measure_limits("mmx", 1, kSmall_bytes);
  ASSERT_FALSE(limits);
  EXPECT_EQ(limits.error().code, Code::kNotSupported);
  EXPECT_NE(limits.error().message.find("mmx"), std::string::npos);
}

TEST(MachineLimits, TheBufferIsAsLargeAsAskedForWithinBounds) {
  EXPECT_EQ(measure_limits("scalar", 2, kSmall_bytes)->buffer_bytes, kSmall_bytes);
  EXPECT_GE(measure_limits("scalar", 1, 0)->buffer_bytes, 1u << 20);
}

TEST(MachineLimits, OfTwoMeasurementsTheHigherOfEachCounts) {
  MachineLimits first;
  first.read_bytes_per_second = 5;
  first.peaks = {{kernels::Arithmetic::kFloat32, "f", 10}};
  MachineLimits second = first;
  second.read_bytes_per_second = 4;
  second.peaks[0].operations_per_second = 11;
  first.raise_to(second);
  EXPECT_EQ(first.read_bytes_per_second, 5);
  EXPECT_EQ(first.float32_peak().operations_per_second, 11);
}

}  // namespace
}  // namespace deepserve::runner
