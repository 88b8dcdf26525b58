// Every quantised format means to us what it means to the gguf package (tests/oracle/quantised.py), to the
// bit.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "runner/model/gguf/gguf.h"
#include "runner/model/mapped_file.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;

class DequantisationOn : public testing::TestWithParam<const char*> {};

TEST_P(DequantisationOn, EveryFormatGivesTheBitsOfTheGgufPackage) {
  const kernels::Kernels* kernels = kernels::find_kernels(GetParam());
  if (kernels == nullptr) GTEST_SKIP() << "this CPU has no " << GetParam();
  const auto file = MappedFile::open(QUANTISED_BLOCKS);
  ASSERT_TRUE(file) << file.error().message;
  const auto gguf = Gguf::parse(file->bytes(), QUANTISED_BLOCKS);
  ASSERT_TRUE(gguf) << gguf.error().message;
  for (size_t i = 0; i < static_cast<size_t>(WeightType::kCount); ++i) {
    const auto type = static_cast<WeightType>(i);
    if (type == WeightType::kF32 || type == WeightType::kF8E4M3) continue;  // the latter is none of GGUF's
    const std::string name(kernels::weight_format(type).name);
    const StoredTensor* blocks = gguf->find_tensor(name);
    const StoredTensor* values = gguf->find_tensor(name + ".float32");
    ASSERT_TRUE(blocks != nullptr && values != nullptr) << name;
    ASSERT_EQ(blocks->type, type) << name;
    ASSERT_EQ(blocks->elements, values->elements) << name;
    ASSERT_GE(blocks->elements, 500u) << name;
    std::vector<uint32_t> expected(values->elements);
    std::memcpy(expected.data(), values->bytes.data(), values->bytes.size());
    std::vector<float> actual(expected.size());
    kernels->dequantize(type, blocks->bytes.data(), actual.size(), actual.data());
    for (size_t e = 0; e < actual.size(); ++e) {
      ASSERT_EQ(std::bit_cast<uint32_t>(actual[e]), expected[e])
          << name << " element " << e << ": " << actual[e] << ", not " << std::bit_cast<float>(expected[e]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, DequantisationOn, testing::Values("scalar", "avx2", "avx512"),
                         [](const auto& isa) { return std::string(isa.param); });

}  // namespace
}  // namespace deepserve::runner
