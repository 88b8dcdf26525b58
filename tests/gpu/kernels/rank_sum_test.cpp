#include "kernels/cuda/rank_sum.h"

#include <gtest/gtest.h>

#include "tests/gpu/kernels/device_array.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels::cuda {
namespace {

// The tree as its definition has it.
float tree(const std::vector<float>& parts, size_t stride, size_t index, uint32_t first, uint32_t end) {
  if (end - first == 1) return parts[first * stride + index];
  const uint32_t middle = first + (end - first) / 2;
  return tree(parts, stride, index, first, middle) + tree(parts, stride, index, middle, end);
}

TEST(GpuRankSum, AddsByTheTreeOfRanksWhateverTheirNumber) {
  RandomWeights random(31);
  for (const uint32_t ranks : {1u, 2u, 3u, 4u, 5u, 7u, 8u, 13u, kSumRanksMax}) {
    const size_t count = 300, stride = 304;
    const auto values = random.floats(ranks * stride);
    DeviceArray<float> parts(values), out(count);
    require(
        rank_sum({.parts = parts.data(), .stride = stride, .ranks = ranks, .count = count, .out = out.data()},
                 stream()));
    const auto sums = out.values();
    for (size_t i = 0; i < count; ++i) EXPECT_EQ(sums[i], tree(values, stride, i, 0, ranks)) << i;
  }
}

TEST(GpuRankSum, TakesItsOwnPartFromWhereItIsAndAddsTheBiasOnce) {
  RandomWeights random(32);
  const uint32_t ranks = 3, width = 50;
  const size_t count = 4 * width;
  auto values = random.floats(ranks * count);
  const auto own = random.floats(count), bias = random.floats(width), residual = random.floats(count);
  DeviceArray<float> parts(values), device_own(own), device_bias(bias), out(residual);
  require(rank_sum({.parts = parts.data(),
                    .stride = count,
                    .own = device_own.data(),
                    .rank = 1,
                    .ranks = ranks,
                    .count = count,
                    .out = out.data(),
                    .add = true,
                    .bias = device_bias.data(),
                    .width = width},
                   stream()));
  std::copy(own.begin(), own.end(), values.begin() + count);
  const auto sums = out.values();
  for (size_t i = 0; i < count; ++i) {
    EXPECT_EQ(sums[i], residual[i] + (tree(values, count, i, 0, ranks) + bias[i % width])) << i;
  }
}

TEST(GpuRankSum, MoreRanksThanItsTreeHoldsAreRefused) {
  DeviceArray<float> values(32);
  EXPECT_EQ(
      rank_sum(
          {.parts = values.data(), .stride = 1, .ranks = kSumRanksMax + 1, .count = 1, .out = values.data()},
          stream()),
      cudaErrorInvalidValue);
}

}  // namespace
}  // namespace deepserve::kernels::cuda
