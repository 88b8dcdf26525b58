#include "kernels/cpu/dequantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/float16.h"
#include "kernels/cpu/kernels.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels {
namespace {

constexpr uint8_t kHalfOne[2] = {0x00, 0x3c};
constexpr uint8_t kHalfHalf[2] = {0x00, 0x38};

TEST(Float16, HalvesOfEveryKindKeepTheirValue) {
  EXPECT_EQ(half_to_float(0x3c00), 1.0f);
  EXPECT_EQ(half_to_float(0xc000), -2.0f);
  EXPECT_EQ(half_to_float(0x7bff), 65504.0f);
  EXPECT_EQ(half_to_float(0x0001), 0x1p-24f);
  EXPECT_EQ(half_to_float(0x83ff), -1023 * 0x1p-24f);
  EXPECT_TRUE(std::signbit(half_to_float(0x8000)));
  EXPECT_EQ(half_to_float(0xfc00), -INFINITY);
  EXPECT_TRUE(std::isnan(half_to_float(0x7e01)));
  EXPECT_EQ(bfloat16_to_float(0x3fc0), 1.5f);
}

TEST(Dequantize, Q4_0NibblesAreSignedAroundEight) {
  uint8_t block[18] = {kHalfHalf[0], kHalfHalf[1]};
  block[2] = 0xf0;       // element 0: 0, element 16: 15
  block[2 + 15] = 0x8a;  // element 15: 10, element 31: 8
  float out[32];
  dequantize_q4_0(block, out);
  EXPECT_EQ(out[0], -4.0f);
  EXPECT_EQ(out[16], 3.5f);
  EXPECT_EQ(out[15], 1.0f);
  EXPECT_EQ(out[31], 0.0f);
}

TEST(Dequantize, Q4_1AddsItsMinimum) {
  uint8_t block[20] = {kHalfHalf[0], kHalfHalf[1], 0x00, 0xbc};  // 0.5 q - 1
  block[4] = 0x3f;
  float out[32];
  dequantize_q4_1(block, out);
  EXPECT_EQ(out[0], 6.5f);
  EXPECT_EQ(out[16], 0.5f);
  EXPECT_EQ(out[1], -1.0f);
}

TEST(Dequantize, Q5_0TakesItsFifthBitsFromTheMask) {
  uint8_t block[22] = {kHalfOne[0], kHalfOne[1], 0x02, 0x00, 0x01, 0x80};  // bits of elements 1, 16 and 31
  block[6] = 0x2f;
  float out[32];
  dequantize_q5_0(block, out);
  EXPECT_EQ(out[0], 15.0f - 16);
  EXPECT_EQ(out[1], 16.0f - 16);
  EXPECT_EQ(out[2], -16.0f);
  EXPECT_EQ(out[16], 18.0f - 16);
  EXPECT_EQ(out[31], 16.0f - 16);
}

TEST(Dequantize, Q8_0BytesAreSigned) {
  uint8_t block[34] = {kHalfHalf[0], kHalfHalf[1], 0x80, 0x7f};
  block[33] = 0xff;
  float out[32];
  dequantize_q8_0(block, out);
  EXPECT_EQ(out[0], -64.0f);
  EXPECT_EQ(out[1], 63.5f);
  EXPECT_EQ(out[31], -0.5f);
}

TEST(Dequantize, Q4KUnpacksSixBitScalesAndMinima) {
  uint8_t block[144] = {kHalfOne[0], kHalfOne[1], kHalfHalf[0], kHalfHalf[1]};
  uint8_t* packed = block + 4;
  packed[0] = 5 | 2 << 6;  // scale 0 = 5, upper bits of scale 4 = 2
  packed[4] = 7 | 3 << 6;  // minimum 0 = 7, upper bits of minimum 4 = 3
  packed[8] = 9 | 4 << 4;  // scale 4 = 9 + 2 * 16 = 41, minimum 4 = 4 + 3 * 16 = 52
  packed[1] = 1;           // scale 1 = 1
  block[16] = 0x63;        // element 0: 3, element 32: 6
  block[16 + 64] = 0x0e;   // element 128 (group 4): 14
  float out[256];
  dequantize_q4_k(block, out);
  EXPECT_EQ(out[0], 5.0f * 3 - 0.5f * 7);
  EXPECT_EQ(out[32], 1.0f * 6);
  EXPECT_EQ(out[128], 41.0f * 14 - 0.5f * 52);
  EXPECT_EQ(out[129], -0.5f * 52);
}

TEST(Dequantize, Q6KJoinsFourLowAndTwoHighBits) {
  uint8_t block[210] = {};
  block[208] = kHalfHalf[0];
  block[209] = kHalfHalf[1];
  for (int i = 0; i < 16; ++i) block[192 + i] = static_cast<uint8_t>(i - 8);
  block[0] = 0x5a;          // elements 0 (10) and 64 (5)
  block[32] = 0xc3;         // elements 32 (3) and 96 (12)
  block[128] = 0b11100100;  // upper bits 0, 1, 2, 3 of elements 0, 32, 64, 96
  block[64 + 31] = 0x0f;    // element 128 + 31
  float out[256];
  dequantize_q6_k(block, out);
  EXPECT_EQ(out[0], 0.5f * -8 * (10 - 32));
  EXPECT_EQ(out[32], 0.5f * -6 * (16 + 3 - 32));
  EXPECT_EQ(out[64], 0.5f * -4 * (32 + 5 - 32));
  EXPECT_EQ(out[96], 0.5f * -2 * (48 + 12 - 32));
  EXPECT_EQ(out[128 + 31], 0.5f * 1 * (15 - 32));
  EXPECT_EQ(out[255], 0.5f * 7 * -32);
}

TEST(Dequantize, E4M3HasAllItsCodes) {
  for (unsigned code = 0; code < 256; ++code) {
    const auto byte = static_cast<uint8_t>(code);
    float value;
    dequantize_row(WeightType::kF8E4M3, &byte, 1, &value);
    const int exponent = static_cast<int>(code >> 3 & 15), mantissa = static_cast<int>(code & 7);
    EXPECT_EQ(std::signbit(value), code >= 128) << code;
    if ((code & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(value)) << code;
      continue;
    }
    const double magnitude =
        exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    EXPECT_EQ(value, code >= 128 ? -magnitude : magnitude) << code;
  }
}

TEST(Dequantize, EveryIsaHasAllCodesOfE4M3) {
  std::vector<uint8_t> codes(256);
  std::iota(codes.begin(), codes.end(), uint8_t{0});
  std::vector<float> expected(codes.size()), actual(codes.size());
  dequantize_row(WeightType::kF8E4M3, codes.data(), codes.size(), expected.data());
  for (const char* isa : {"scalar", "avx2", "avx512"}) {
    const Kernels* kernels = find_kernels(isa);
    if (kernels == nullptr) continue;
    kernels->dequantize(WeightType::kF8E4M3, codes.data(), codes.size(), actual.data());
    EXPECT_EQ(std::memcmp(expected.data(), actual.data(), codes.size() * sizeof(float)), 0) << isa;
  }
}

TEST(Dequantize, ScalesOfBlocksAreThoseOfTheWholeMatrixInAnyPartOfIt) {
  RandomWeights random(21);
  const size_t rows = 300, columns = 290;
  const auto codes = random.row(WeightType::kF8E4M3, rows * columns, 448);
  const auto scales = random.floats(3 * 3);
  const BlockScales blocks{scales.data(), 3, 128, 128};
  const Matrix whole{codes.data(), WeightType::kF8E4M3, rows, columns, columns, blocks};
  Matrix part = whole;  // rows from 130 on, columns from 128 on
  part.data += 130 * columns + 128;
  part.rows -= 130, part.columns -= 128;
  part.scales.first_row = 130, part.scales.first_column = 128;
  std::vector<float> row(columns), row_of_part(part.columns), unscaled(columns);
  for (const size_t r : {0, 127, 128, 255, 256, 299}) {
    dequantize_matrix_row(whole, r, row.data());
    dequantize_row(WeightType::kF8E4M3, &codes[r * columns], columns, unscaled.data());
    for (size_t c = 0; c < columns; ++c)
      ASSERT_EQ(row[c], unscaled[c] * scales[r / 128 * 3 + c / 128]) << r << " " << c;
    if (r < 130) continue;
    dequantize_matrix_row(part, r - 130, row_of_part.data());
    EXPECT_TRUE(std::equal(row_of_part.begin(), row_of_part.end(), row.begin() + 128)) << r;
  }
  const BlockScales of_rows{.values = scales.data(), .stride = 1, .rows = 1};
  EXPECT_EQ(of_rows.at(4, 1'000), scales[4]);
  const BlockScales of_all{.values = scales.data(), .stride = 1};
  EXPECT_EQ(of_all.at(400, 1'000), scales[0]);
}

TEST(Dequantize, EveryIsaGivesTheSameBits) {
  const Kernels* avx2 = find_kernels("avx2");
  if (avx2 == nullptr) GTEST_SKIP() << "this CPU has no AVX2";
  RandomWeights random(20);
  for (const WeightType type : all_weight_types()) {
    for (int round = 0; round < 50; ++round) {
      const size_t block = weight_format(type).block_elements;
      const size_t elements = random.number(1, block == 1 ? 300 : 9) * block;
      const auto row = random.row(type, elements);
      std::vector<float> expected(elements), actual(elements);
      dequantize_row(type, row.data(), elements, expected.data());
      avx2->dequantize(type, row.data(), elements, actual.data());
      ASSERT_EQ(std::memcmp(expected.data(), actual.data(), elements * sizeof(float)), 0)
          << weight_format(type).name << ", " << elements << " elements";
    }
  }
}

}  // namespace
}  // namespace deepserve::kernels
