// Weights lie in a mapped file: at any address, and their last byte may be the last of a page.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "tests/unit/kernels/guarded_pages.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels {
namespace {

class WeightBoundsOf : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    kernels_ = find_kernels(GetParam());
    if (kernels_ == nullptr) GTEST_SKIP() << "this CPU has no " << GetParam();
  }

  std::vector<float> dequantized(const Matrix& weights) const {
    std::vector<float> values(weights.rows * weights.columns);
    for (size_t r = 0; r < weights.rows; ++r) {
      kernels_->dequantize(weights.type, weights.data + r * weights.row_bytes, weights.columns,
                           values.data() + r * weights.columns);
    }
    return values;
  }
  std::vector<float> products(const Matrix& weights, const std::vector<float>& inputs) const {
    std::vector<float> outputs(inputs.size() / weights.columns * weights.rows);
    MatmulArguments a;
    a.weights = weights;
    a.row_end = weights.rows;
    a.inputs = inputs.data();
    a.input_stride = weights.columns;
    a.tokens = inputs.size() / weights.columns;
    a.outputs = outputs.data();
    a.output_stride = weights.rows;
    kernels_->matmul(a);
    return outputs;
  }

  const Kernels* kernels_ = nullptr;
};

TEST_P(WeightBoundsOf, NoByteOutsideTheMatrixIsTouchedAndAnyAddressGivesTheSameBits) {
  constexpr size_t kRows = 5;
  RandomWeights random(30);
  const GuardedPages pages;
  for (const WeightType type : all_weight_types()) {
    const size_t block = weight_format(type).block_elements;
    for (const size_t blocks :
         block == 1 ? std::vector<size_t>{1, 7, 8, 31, 32, 45} : std::vector<size_t>{1, 3}) {
      const size_t columns = blocks * block;
      std::vector<uint8_t> bytes;
      for (size_t r = 0; r < kRows; ++r) {
        const auto row = random.row(type, columns);
        bytes.insert(bytes.end(), row.begin(), row.end());
      }
      const auto inputs_of_one = random.floats(columns), inputs_of_many = random.floats(20 * columns);
      Matrix weights{bytes.data(), type, kRows, columns, weight_row_bytes(type, columns)};
      const auto values = dequantized(weights);
      const auto one = products(weights, inputs_of_one), many = products(weights, inputs_of_many);
      uint8_t* const last = pages.end() - bytes.size();
      for (uint8_t* place : {pages.begin(), pages.begin() + 1, pages.begin() + 2, last, last - 1, last - 3}) {
        std::memcpy(place, bytes.data(), bytes.size());
        weights.data = place;
        SCOPED_TRACE(testing::Message() << weight_format(type).name << ", " << columns << " columns, "
                                        << place - pages.begin() << " bytes behind a page's begin");
        // As bits: -0 is not 0.
        ASSERT_EQ(std::memcmp(dequantized(weights).data(), values.data(), values.size() * sizeof(float)), 0);
        ASSERT_EQ(products(weights, inputs_of_one), one);
        ASSERT_EQ(products(weights, inputs_of_many), many);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, WeightBoundsOf, testing::Values("scalar", "avx2", "avx512"),
                         [](const auto& isa) { return std::string(isa.param); });

}  // namespace
}  // namespace deepserve::kernels
