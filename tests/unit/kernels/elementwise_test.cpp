#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels {
namespace {

class ElementwiseOf : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    kernels_ = find_kernels(GetParam());
    if (kernels_ == nullptr) GTEST_SKIP() << "this CPU has no " << GetParam();
  }
  const Kernels* kernels_ = nullptr;
};

TEST_P(ElementwiseOf, RmsNormMatchesFloat64) {
  RandomWeights random(6);
  for (size_t size = 1; size < 200; ++size) {
    const auto x = random.floats(size, 3), weight = random.floats(size);
    std::vector<float> out(size);
    kernels_->rms_norm(x.data(), weight.data(), 1e-5f, size, out.data());
    double sum = 0;
    for (const float value : x) sum += static_cast<double>(value) * value;
    for (size_t i = 0; i < size; ++i) {
      const double exact = x[i] / std::sqrt(sum / static_cast<double>(size) + 1e-5) * weight[i];
      ASSERT_NEAR(out[i], exact, 1e-6 * std::abs(exact) + 1e-12) << "size " << size;
    }
  }
}

TEST_P(ElementwiseOf, SiluMatchesFloat64FromMinusToPlusInfinity) {
  std::vector<float> gate, up;
  for (float x = -120; x <= 120; x += 0.37f) gate.push_back(x);
  const std::vector<float> inputs = gate;
  up.assign(gate.size(), 2.0f);
  kernels_->silu_multiply(gate.data(), up.data(), gate.size());
  for (size_t i = 0; i < gate.size(); ++i) {
    const double exact = inputs[i] / (1 + std::exp(-static_cast<double>(inputs[i]))) * 2;
    ASSERT_NEAR(gate[i], exact, 3e-7 * std::abs(exact) + 1e-30) << inputs[i];
  }
}

TEST_P(ElementwiseOf, SiluKeepsNan) {
  std::vector<float> gate(9, std::numeric_limits<float>::quiet_NaN()), up(9, 1.0f);
  kernels_->silu_multiply(gate.data(), up.data(), gate.size());
  for (const float value : gate) EXPECT_TRUE(std::isnan(value));
}

TEST_P(ElementwiseOf, RopePairsNeighboursOrHalvesAndLeavesTheRest) {
  const float cosines[2] = {0.0f, 1.0f}, sines[2] = {1.0f, 0.0f};  // a quarter turn, none
  float adjacent[6] = {1, 2, 3, 4, 5, 6}, halves[6] = {1, 2, 3, 4, 5, 6};
  kernels_->rope(adjacent, cosines, sines, 4, RopeStyle::kAdjacentPairs);
  kernels_->rope(halves, cosines, sines, 4, RopeStyle::kHalves);
  const float adjacent_expected[6] = {-2, 1, 3, 4, 5, 6}, halves_expected[6] = {-3, 2, 1, 4, 5, 6};
  EXPECT_EQ(std::memcmp(adjacent, adjacent_expected, sizeof adjacent), 0);
  EXPECT_EQ(std::memcmp(halves, halves_expected, sizeof halves), 0);
}

TEST_P(ElementwiseOf, RopeGivesTheBitsOfTheReferenceForAnySize) {
  RandomWeights random(8);
  for (size_t rotated = 2; rotated <= 200; rotated += 2) {
    for (const RopeStyle style : {RopeStyle::kAdjacentPairs, RopeStyle::kHalves}) {
      auto head = random.floats(rotated + 6);
      const auto cosines = random.floats(rotated / 2), sines = random.floats(rotated / 2);
      auto expected = head;
      kernels_->rope(head.data(), cosines.data(), sines.data(), rotated, style);
      scalar_kernels().rope(expected.data(), cosines.data(), sines.data(), rotated, style);
      ASSERT_EQ(std::memcmp(head.data(), expected.data(), head.size() * sizeof(float)), 0) << rotated;
    }
  }
}

TEST(Kernels, UnknownIsaIsNotThere) {
  EXPECT_EQ(find_kernels("neon"), nullptr);
  ASSERT_NE(find_kernels(""), nullptr);
  EXPECT_STREQ(find_kernels("scalar")->isa, "scalar");
}

INSTANTIATE_TEST_SUITE_P(Isa, ElementwiseOf, testing::Values("scalar", "avx2", "avx512"),
                         [](const auto& isa) { return std::string(isa.param); });

}  // namespace
}  // namespace deepserve::kernels
