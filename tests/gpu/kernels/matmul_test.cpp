#include "kernels/cuda/matmul.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cpu/dequantize.h"
#include "kernels/cpu/float16.h"
#include "kernels/cuda/matrix_layout.h"
#include "tests/gpu/kernels/device_array.h"
#include "tests/gpu/relative_error.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels::cuda {
namespace {

// A random matrix of a file's type: on the device, and in float32 as the file's numbers are.
struct TestMatrix {
  TestMatrix(RandomWeights& random, WeightType type, uint32_t rows, uint32_t columns)
      : values(size_t{rows} * columns) {
    std::vector<uint8_t> bytes;
    for (uint32_t r = 0; r < rows; ++r) {
      const auto row = random.row(type, columns);
      bytes.insert(bytes.end(), row.begin(), row.end());
    }
    Matrix stored{bytes.data(), type, rows, columns, weight_row_bytes(type, columns)};
    const auto block_scales = random.floats((rows / 128 + 1) * (columns / 128 + 1));
    if (type == WeightType::kF8E4M3) stored.scales = {block_scales.data(), (columns + 127) / 128, 128, 128};
    matrix = shape_of(format_for(stored), rows, columns);
    std::vector<uint8_t> all(data_bytes(matrix)), all_scales(scale_bytes(matrix));
    std::vector<float> scratch(columns);
    for (uint32_t r = 0; r < rows; ++r) {
      dequantize_matrix_row(stored, r, &values[size_t{r} * columns]);
      lay_out_row(matrix, stored, r, &all[r * matrix.row_bytes],
                  all_scales.data() + r * matrix.scale_row_bytes, scratch.data());
    }
    data = std::make_unique<DeviceArray<uint8_t>>(all);
    scales = std::make_unique<DeviceArray<uint8_t>>(all_scales);
    matrix.data = data->data();
    matrix.scales = scales->data();
  }

  DeviceMatrix matrix;
  std::vector<float> values;  // [rows, columns]
  std::unique_ptr<DeviceArray<uint8_t>> data, scales;
};

// Inputs [tokens, stride] in bf16, zeros behind `columns`; `values` what they are as numbers.
struct TestInputs {
  TestInputs(RandomWeights& random, uint32_t tokens, const DeviceMatrix& matrix)
      : stride(matrix.padded_columns), values(size_t{tokens} * stride) {
    std::vector<uint16_t> bits(values.size());
    for (uint32_t t = 0; t < tokens; ++t) {
      for (uint32_t i = 0; i < matrix.columns; ++i) {
        uint8_t bytes[2];
        RandomWeights::put_bfloat16(bytes, random.uniform(-2, 2));
        std::memcpy(&bits[t * stride + i], bytes, 2);
        values[t * stride + i] = bfloat16_to_float(bits[t * stride + i]);
      }
    }
    device = std::make_unique<DeviceArray<uint16_t>>(bits);
  }

  uint32_t stride;
  std::vector<float> values;
  std::unique_ptr<DeviceArray<uint16_t>> device;
};

double exact(const TestMatrix& weights, const TestInputs& inputs, uint32_t token, uint32_t row) {
  double sum = 0;
  const uint32_t columns = weights.matrix.columns;
  for (uint32_t i = 0; i < columns; ++i) {
    sum +=
        double{weights.values[size_t{row} * columns + i]} * inputs.values[size_t{token} * inputs.stride + i];
  }
  return sum;
}

// Partial sums' memory, poisoned but for what must be zero.
class TestWorkspace {
 public:
  TestWorkspace() : memory_(kBytes) {
    require(cudaMemsetAsync(memory_.data(), 0, kWideArrivals * sizeof(uint32_t), stream()));
  }
  MatmulWorkspace of(uint32_t multiprocessors) {
    if (multiprocessors == 0) return {};
    return {.memory = memory_.data(), .bytes = kBytes, .multiprocessors = multiprocessors};
  }
  void expect_zeros() const {
    const auto bytes = memory_.values();
    for (size_t i = 0; i < kWideArrivals * sizeof(uint32_t); ++i) ASSERT_EQ(bytes[i], 0) << i;
  }

 private:
  static constexpr size_t kBytes = 4 << 20;
  DeviceArray<uint8_t> memory_;
};

std::vector<WeightType> held_types() {
  return {WeightType::kBF16, WeightType::kF16, WeightType::kQ8_0, WeightType::kQ4K, WeightType::kF8E4M3};
}

class GpuMatmul : public testing::TestWithParam<WeightType> {
 protected:
  uint32_t columns(uint32_t wanted) const {
    const uint32_t block = weight_format(GetParam()).block_elements;
    return (wanted + block - 1) / block * block;
  }
};

TEST_P(GpuMatmul, MatchesFloat64ForAnyNumberOfTokensRowsAndColumns) {
  RandomWeights random(31);
  const uint32_t shapes[][3] = {{1, 16, 64},    {1, 1, 40},     {8, 17, 328},   {9, 40, 1'000}, {16, 130, 72},
                                {33, 5, 2'048}, {64, 148, 520}, {70, 133, 256}, {130, 16, 328}};
  for (const auto& [tokens, rows, wanted] : shapes) {
    const TestMatrix weights(random, GetParam(), rows, columns(wanted));
    const TestInputs inputs(random, tokens, weights.matrix);
    const auto bias = random.floats(rows), before = random.floats(tokens * rows);
    DeviceArray<float> device_bias(bias), out(tokens * rows), added(before);
    MatmulArguments arguments{.weights = weights.matrix,
                              .inputs = inputs.device->data(),
                              .input_stride = inputs.stride,
                              .tokens = tokens,
                              .bias = device_bias.data(),
                              .out = out.data(),
                              .out_stride = rows};
    require(matmul(arguments, stream()));
    arguments.epilogue = Epilogue::kAdd;
    arguments.out = added.data();
    require(matmul(arguments, stream()));
    std::vector<double> products, sums;
    for (uint32_t t = 0; t < tokens; ++t) {
      for (uint32_t r = 0; r < rows; ++r) {
        products.push_back(exact(weights, inputs, t, r) + bias[r]);
        sums.push_back(products.back() + before[products.size() - 1]);
      }
    }
    EXPECT_LT(relative_error(out.values(), products), 1e-5) << tokens << " " << rows << " " << wanted;
    EXPECT_LT(relative_error(added.values(), sums), 1e-5) << tokens << " " << rows << " " << wanted;
  }
}

TEST_P(GpuMatmul, ATokenGetsTheSameBitsInAnyCompany) {
  RandomWeights random(32);
  const uint32_t rows = 140, tokens = 140;
  const TestMatrix weights(random, GetParam(), rows, columns(700));
  const TestInputs inputs(random, tokens, weights.matrix);
  DeviceArray<float> together(tokens * rows);
  MatmulArguments arguments{.weights = weights.matrix,
                            .inputs = inputs.device->data(),
                            .input_stride = inputs.stride,
                            .tokens = tokens,
                            .out = together.data(),
                            .out_stride = rows};
  require(matmul(arguments, stream()));
  const auto all = together.values();
  // Alone by few-token kernels; in tiles of each size; the columns' parts shared by 1, 2, 4 and 8 blocks.
  TestWorkspace workspace;
  for (const uint32_t multiprocessors : {0u, 1u, 2u, 5u, 100u}) {
    arguments.workspace = workspace.of(multiprocessors);
    for (const uint32_t count : {1u, 8u, 12u, 20u, 40u, 70u}) {
      DeviceArray<float> some(count * rows);
      arguments.inputs = inputs.device->data() + size_t{tokens - count} * inputs.stride;
      arguments.tokens = count;
      arguments.out = some.data();
      require(matmul(arguments, stream()));
      const auto few = some.values();
      EXPECT_EQ(0, std::memcmp(few.data(), &all[(tokens - count) * rows], few.size() * sizeof(float)))
          << count << " tokens, " << multiprocessors << " multiprocessors";
    }
  }
  workspace.expect_zeros();
}

// Each row of `out` against float64; zeros behind its columns.
void expect_swiglu(const TestMatrix& weights, const TestInputs& inputs, const std::vector<float>& bias,
                   uint32_t tokens, const std::vector<uint16_t>& out) {
  const uint32_t width = weights.matrix.rows / 2;
  const size_t stride = out.size() / tokens;
  for (uint32_t t = 0; t < tokens; ++t) {
    for (uint32_t i = 0; i < stride; ++i) {
      double wanted = 0;
      if (i < width) {
        const uint32_t gate_row = i / kGateRows * kTileRows + i % kGateRows;
        const double gate = exact(weights, inputs, t, gate_row) + bias[gate_row];
        const double up = exact(weights, inputs, t, gate_row + kGateRows) + bias[gate_row + kGateRows];
        wanted = gate / (1 + std::exp(-gate)) * up;
      }
      EXPECT_NEAR(bfloat16_to_float(out[t * stride + i]), wanted, 0x1p-8 * std::abs(wanted) + 1e-4);
    }
  }
}

TEST_P(GpuMatmul, SwigluTakesGateAndUpFromOneTile) {
  RandomWeights random(33);
  const uint32_t width = 72, stride = 128;  // 9 tiles of 8 rows of each
  const TestMatrix weights(random, GetParam(), 2 * width, columns(300));
  const auto bias = random.floats(2 * width);
  DeviceArray<float> device_bias(bias);
  for (const uint32_t tokens : {5u, 20u, 70u}) {
    const TestInputs inputs(random, tokens, weights.matrix);
    DeviceArray<uint16_t> out(tokens * stride);
    require(cudaMemsetAsync(out.data(), 0, tokens * stride * 2, stream()));
    require(matmul({.weights = weights.matrix,
                    .inputs = inputs.device->data(),
                    .input_stride = inputs.stride,
                    .tokens = tokens,
                    .bias = device_bias.data(),
                    .epilogue = Epilogue::kSwiglu,
                    .out_bf16 = out.data(),
                    .out_stride = stride},
                   stream()));
    expect_swiglu(weights, inputs, bias, tokens, out.values());
  }
}

TEST_P(GpuMatmul, ExpandingRoundsEveryWeightOnceAndPadsWithZeros) {
  RandomWeights random(34);
  const uint32_t rows = 3;
  const TestMatrix weights(random, GetParam(), rows, columns(300));
  DeviceArray<uint16_t> out(rows * weights.matrix.padded_columns);
  require(expand(weights.matrix, out.data(), stream()));
  const auto bits = out.values();
  for (uint32_t r = 0; r < rows; ++r) {
    for (uint32_t i = 0; i < weights.matrix.padded_columns; ++i) {
      const float got = bfloat16_to_float(bits[r * weights.matrix.padded_columns + i]);
      const bool inside = i < weights.matrix.columns;
      const float wanted = inside ? weights.values[r * weights.matrix.columns + i] : 0;
      EXPECT_NEAR(got, wanted, 0x1.02p-8 * std::abs(wanted)) << r << " " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, GpuMatmul, testing::ValuesIn(held_types()),
                         [](const auto& type) { return std::string(weight_format(type.param).name); });

TEST(GpuMatrixLayout, FormatsWithoutAKernelAreHeldAsBf16) {
  RandomWeights random(35);
  for (const WeightType type : all_weight_types()) {
    const TestMatrix weights(random, type, 2, 512);
    DeviceArray<uint16_t> out(2 * weights.matrix.padded_columns);
    require(expand(weights.matrix, out.data(), stream()));
    const auto bits = out.values();
    for (size_t i = 0; i < 512; ++i) {
      EXPECT_NEAR(bfloat16_to_float(bits[i]), weights.values[i], 0x1.02p-8 * std::abs(weights.values[i]))
          << weight_format(type).name << " " << i;
    }
  }
}

TEST(GpuMatrixLayout, EveryCodeOfE4M3IsTheNumberThatItStandsFor) {
  std::vector<uint8_t> codes;
  for (unsigned code = 0; code < 256; ++code) {
    if ((code & 0x7f) != 0x7f) codes.push_back(static_cast<uint8_t>(code));
  }
  const auto columns = static_cast<uint32_t>(codes.size());
  const Matrix stored{codes.data(), WeightType::kF8E4M3, 1, columns, columns};
  DeviceMatrix matrix = shape_of(format_for(stored), 1, columns);
  ASSERT_EQ(matrix.format, MatrixFormat::kFp8);
  std::vector<uint8_t> data(data_bytes(matrix)), scales(scale_bytes(matrix));
  std::vector<float> scratch(columns), values(columns);
  lay_out_row(matrix, stored, 0, data.data(), scales.data(), scratch.data());
  dequantize_matrix_row(stored, 0, values.data());
  DeviceArray<uint8_t> device_data(data), device_scales(scales);
  matrix.data = device_data.data(), matrix.scales = device_scales.data();
  DeviceArray<uint16_t> out(matrix.padded_columns);
  require(expand(matrix, out.data(), stream()));
  const auto bits = out.values();
  for (uint32_t i = 0; i < columns; ++i)
    EXPECT_EQ(bfloat16_to_float(bits[i]), values[i]) << unsigned{codes[i]};
}

TEST(GpuMatrixLayout, ColumnsThatDoNotBeginWithABlockOfScalesAreHeldAsBf16) {
  const std::vector<uint8_t> codes(256);
  const std::vector<float> scales(2);
  Matrix part{codes.data(), WeightType::kF8E4M3, 1, 128, 256, {scales.data(), 2, 128, 128}};
  EXPECT_EQ(format_for(part), MatrixFormat::kFp8);
  part.scales.first_column = 128;
  EXPECT_EQ(format_for(part), MatrixFormat::kFp8);
  part.scales.first_column = 64;
  EXPECT_EQ(format_for(part), MatrixFormat::kBf16);
  part.scales = {scales.data(), 1, 1};
  EXPECT_EQ(format_for(part), MatrixFormat::kFp8) << "a scale for the whole row";
}

TEST(GpuMatmulArguments, AnAlignmentThatTheKernelsCannotReadIsRefused) {
  MatmulArguments arguments{};
  arguments.weights = shape_of(MatrixFormat::kBf16, 16, 64);
  arguments.tokens = 1;
  arguments.input_stride = 60;
  EXPECT_EQ(matmul(arguments, stream()), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace deepserve::kernels::cuda
