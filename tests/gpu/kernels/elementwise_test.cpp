#include "kernels/cuda/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kernels/cpu/float16.h"
#include "kernels/cuda/matrix_layout.h"
#include "tests/gpu/kernels/device_array.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels::cuda {
namespace {

std::vector<float> floats_of_bf16(const std::vector<uint16_t>& bits) {
  std::vector<float> values;
  for (const uint16_t bit : bits) values.push_back(bfloat16_to_float(bit));
  return values;
}

std::vector<float> floats_of_f16(const std::vector<uint16_t>& bits) {
  std::vector<float> values;
  for (const uint16_t bit : bits) values.push_back(half_to_float(bit));
  return values;
}

TEST(GpuRmsNorm, MatchesFloat64AtAnyWidthAndPadsWithZeros) {
  RandomWeights random(21);
  for (const uint32_t width : {1u, 2u, 31u, 64u, 257u, 896u}) {
    const uint32_t stride = (width + 31) / 32 * 32, count = 3;
    const auto x = random.floats(count * width, 3), weight = random.floats(width);
    DeviceArray<float> device_x(x), device_weight(weight), out_float(count * stride);
    DeviceArray<uint16_t> out(count * stride);
    RmsNormArguments arguments{.x = device_x.data(),
                               .weight = device_weight.data(),
                               .epsilon = 1e-5f,
                               .width = width,
                               .count = count,
                               .out_bf16 = out.data(),
                               .out_stride = stride};
    require(rms_norm(arguments, stream()));
    arguments.out_bf16 = nullptr;
    arguments.out_float = out_float.data();
    require(rms_norm(arguments, stream()));
    const auto rounded = floats_of_bf16(out.values()), exactly = out_float.values();
    for (uint32_t t = 0; t < count; ++t) {
      double sum = 0;
      for (uint32_t i = 0; i < width; ++i) sum += double{x[t * width + i]} * x[t * width + i];
      for (uint32_t i = 0; i < stride; ++i) {
        if (i >= width) {
          EXPECT_EQ(rounded[t * stride + i], 0);
          continue;
        }
        const double exact = x[t * width + i] / std::sqrt(sum / width + 1e-5) * weight[i];
        ASSERT_NEAR(exactly[t * stride + i], exact, 1e-6 * std::abs(exact) + 1e-9) << width;
        ASSERT_NEAR(rounded[t * stride + i], exact, 0x1p-8 * std::abs(exact) + 1e-9) << width;
      }
    }
  }
}

TEST(GpuRmsNorm, TakesTheRowsItIsTold) {
  RandomWeights random(22);
  const auto x = random.floats(4 * 64, 3);
  DeviceArray<float> device_x(x), weight(std::vector<float>(64, 1.0f)), all(4 * 64), some(2 * 64);
  DeviceArray<uint32_t> rows(std::vector<uint32_t>{3, 1});
  RmsNormArguments arguments{.x = device_x.data(),
                             .weight = weight.data(),
                             .epsilon = 1e-5f,
                             .width = 64,
                             .count = 4,
                             .out_float = all.data(),
                             .out_stride = 64};
  require(rms_norm(arguments, stream()));
  arguments.rows = rows.data();
  arguments.count = 2;
  arguments.out_float = some.data();
  require(rms_norm(arguments, stream()));
  const auto every = all.values(), chosen = some.values();
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(chosen[i], every[3 * 64 + i]);
    EXPECT_EQ(chosen[64 + i], every[64 + i]);
  }
}

TEST(GpuBias, IsPutOrAddedToEveryRowAndNothingBehindIt) {
  RandomWeights random(24);
  const uint32_t rows = 300, count = 3, stride = 320;
  const auto bias = random.floats(rows), before = random.floats(count * stride);
  DeviceArray<float> device_bias(bias), put(before), added(before);
  BiasArguments arguments{.bias = device_bias.data(),
                          .rows = rows,
                          .count = count,
                          .out = put.data(),
                          .out_stride = stride,
                          .add = false};
  require(put_bias(arguments, stream()));
  arguments.out = added.data();
  arguments.add = true;
  require(put_bias(arguments, stream()));
  const auto all_put = put.values(), all_added = added.values();
  for (uint32_t i = 0; i < count * stride; ++i) {
    const bool inside = i % stride < rows;
    EXPECT_EQ(all_put[i], inside ? bias[i % stride] : before[i]) << i;
    EXPECT_EQ(all_added[i], inside ? before[i] + bias[i % stride] : before[i]) << i;
  }
}

TEST(GpuSwiglu, TakesGateAndUpFromTheirTilesAndPadsWithZeros) {
  RandomWeights random(25);
  const uint32_t width = 40, rows = 2 * width, count = 2, stride = 64;
  const auto product = random.floats(count * rows, 4), bias = random.floats(rows);
  DeviceArray<float> device_product(product), device_bias(bias);
  DeviceArray<uint16_t> out(count * stride);
  require(swiglu({.gate_and_up = device_product.data(),
                  .bias = device_bias.data(),
                  .rows = rows,
                  .count = count,
                  .out = out.data(),
                  .out_stride = stride},
                 stream()));
  const auto values = floats_of_bf16(out.values());
  for (uint32_t i = 0; i < count * stride; ++i) {
    const uint32_t at = i % stride, gate_row = at / kGateRows * kTileRows + at % kGateRows;
    double wanted = 0;
    if (at < width) {
      const float* row = &product[i / stride * rows];
      const double gate = double{row[gate_row]} + bias[gate_row];
      wanted =
          gate / (1 + std::exp(-gate)) * (double{row[gate_row + kGateRows]} + bias[gate_row + kGateRows]);
    }
    EXPECT_NEAR(values[i], wanted, 0x1p-8 * std::abs(wanted) + 1e-9) << i;
  }
}

TEST(GpuEmbedding, LooksUpTheRowsOfItsTokensAndOfThoseThatWereDrawn) {
  RandomWeights random(26);
  const uint32_t rows = 5, columns = 70;
  DeviceMatrix table = shape_of(MatrixFormat::kBf16, rows, columns);
  std::vector<uint8_t> bytes(data_bytes(table));
  for (uint32_t r = 0; r < rows; ++r) {
    for (uint32_t i = 0; i < columns; ++i) {
      RandomWeights::put_bfloat16(&bytes[r * table.row_bytes + 2 * i], random.uniform(-1, 1));
    }
  }
  DeviceArray<uint8_t> data(bytes);
  table.data = data.data();
  // The last two by what was drawn, of which one is no token.
  DeviceArray<uint32_t> tokens(std::vector<uint32_t>{4, 0, 4, kDrawnToken + 1, kDrawnToken});
  DeviceArray<RankedLogit> drawn(std::vector<RankedLogit>{{rows, 0}, {3, 0}});
  DeviceArray<float> out(5 * columns);
  require(
      embed({.table = table, .tokens = tokens.data(), .drawn = drawn.data(), .count = 5, .out = out.data()},
            stream()));
  const auto values = out.values();
  constexpr uint32_t kRows[] = {4, 0, 4, 3, 0};
  for (uint32_t i = 0; i < 5 * columns; ++i) {
    const uint32_t row = kRows[i / columns];
    EXPECT_EQ(values[i], bfloat16_to_float(load_u16(&bytes[row * table.row_bytes + i % columns * 2])));
  }
}

TEST(GpuRopeAngles, AreThoseOfFloat64FarFromTheBeginningToo) {
  const std::vector<uint32_t> positions{0, 1, 4'095, 131'071};
  std::vector<double> frequencies;
  for (int i = 0; i < 64; ++i) frequencies.push_back(std::pow(1e6, -i / 64.0));
  DeviceArray<uint32_t> device_positions(positions);
  DeviceArray<double> device_frequencies(frequencies);
  DeviceArray<float> cosines(4 * 64), sines(4 * 64);
  require(rope_angles({.positions = device_positions.data(),
                       .frequencies = device_frequencies.data(),
                       .factor = 1.25,
                       .pairs = 64,
                       .count = 4,
                       .cosines = cosines.data(),
                       .sines = sines.data()},
                      stream()));
  const auto c = cosines.values(), s = sines.values();
  for (size_t t = 0; t < 4; ++t) {
    for (size_t i = 0; i < 64; ++i) {
      const double angle = positions[t] * frequencies[i];
      EXPECT_NEAR(c[t * 64 + i], 1.25 * std::cos(angle), 1e-7);
      EXPECT_NEAR(s[t * 64 + i], 1.25 * std::sin(angle), 1e-7);
    }
  }
}

// A model's shape around rope_and_store.
struct Heads {
  uint32_t heads, kv_heads, head_dim, pairs;
  bool adjacent, norm;
};

// Element `at` of a query's or key's head, normalised and rotated.
double prepared(const Heads& shape, const float* head, const std::vector<float>& norm, const float* cosines,
                const float* sines, uint32_t at) {
  double sum = 0;
  for (uint32_t i = 0; i < shape.head_dim; ++i) sum += double{head[i]} * head[i];
  const double scale = 1 / std::sqrt(sum / shape.head_dim + 1e-6);
  const auto value = [&](uint32_t i) { return shape.norm ? head[i] * scale * norm[i] : double{head[i]}; };
  if (at >= 2 * shape.pairs) return value(at);
  const uint32_t pair = shape.adjacent ? at / 2 : at % shape.pairs;
  const uint32_t first = shape.adjacent ? 2 * pair : pair;
  const uint32_t second = first + (shape.adjacent ? 1 : shape.pairs);
  const double c = cosines[pair], s = sines[pair];
  return at == first ? value(first) * c - value(second) * s : value(first) * s + value(second) * c;
}

class GpuRopeStore : public testing::TestWithParam<Heads> {};

TEST_P(GpuRopeStore, MatchesFloat64AndFillsItsPlacesOfTheCacheAlone) {
  const Heads shape = GetParam();
  constexpr uint32_t kBlock = 16, kLayers = 2, kLayer = 1;
  RandomWeights random(23);
  const std::vector<uint32_t> positions{5, 6, 40}, blocks{2, 2, 0};
  const uint32_t count = 3, width = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
  const auto qkv = random.floats(count * width, 2);
  const auto query_norm = random.floats(shape.head_dim), key_norm = random.floats(shape.head_dim);
  const auto angles = random.floats(count * shape.pairs, 3);
  std::vector<float> cosines, sines;
  for (const float angle : angles) cosines.push_back(std::cos(angle)), sines.push_back(std::sin(angle));
  const size_t layer = size_t{2} * shape.kv_heads * kBlock * shape.head_dim, stride = kLayers * layer;
  DeviceArray<float> device_qkv(qkv), device_query_norm(query_norm), device_key_norm(key_norm);
  DeviceArray<float> device_cosines(cosines), device_sines(sines);
  DeviceArray<uint32_t> device_positions(positions), device_blocks(blocks);
  DeviceArray<uint16_t> cache(3 * stride), queries(count * shape.heads * shape.head_dim);
  require(rope_and_store({.qkv = device_qkv.data(),
                          .query_norm = shape.norm ? device_query_norm.data() : nullptr,
                          .key_norm = shape.norm ? device_key_norm.data() : nullptr,
                          .epsilon = 1e-6f,
                          .cosines = device_cosines.data(),
                          .sines = device_sines.data(),
                          .pairs = shape.pairs,
                          .adjacent_pairs = shape.adjacent,
                          .heads = shape.heads,
                          .kv_heads = shape.kv_heads,
                          .head_dim = shape.head_dim,
                          .positions = device_positions.data(),
                          .block_of = device_blocks.data(),
                          .block_tokens = kBlock,
                          .cache = cache.data(),
                          .block_stride = stride,
                          .layer_offset = kLayer * layer,
                          .count = count,
                          .queries = queries.data()},
                         stream()));
  const auto exact = [&](uint32_t token, uint32_t index, uint32_t at) {
    const float* head = &qkv[token * width + index * shape.head_dim];
    if (index >= shape.heads + shape.kv_heads) return double{head[at]};
    const auto& norm = index < shape.heads ? query_norm : key_norm;
    return prepared(shape, head, norm, &cosines[token * shape.pairs], &sines[token * shape.pairs], at);
  };
  const auto cached = floats_of_f16(cache.values()), asked = floats_of_f16(queries.values());
  size_t written = 0;
  for (const float value : cached) written += !std::isnan(value);
  EXPECT_EQ(written, size_t{count} * 2 * shape.kv_heads * shape.head_dim);
  for (uint32_t t = 0; t < count; ++t) {
    for (uint32_t index = 0; index < shape.heads + 2 * shape.kv_heads; ++index) {
      for (uint32_t at = 0; at < shape.head_dim; ++at) {
        const uint32_t part = (index - shape.heads) / shape.kv_heads;
        const uint32_t kv_head = (index - shape.heads) % shape.kv_heads;
        const float got = index < shape.heads
                              ? asked[(t * shape.heads + index) * shape.head_dim + at]
                              : cached[blocks[t] * stride + kLayer * layer +
                                       ((part * shape.kv_heads + kv_head) * kBlock + positions[t] % kBlock) *
                                           shape.head_dim +
                                       at];
        const double wanted = exact(t, index, at);
        ASSERT_NEAR(got, wanted, 0x1p-10 * std::abs(wanted) + 1e-6) << t << " " << index << " " << at;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, GpuRopeStore,
                         testing::Values(Heads{4, 2, 64, 32, false, false}, Heads{4, 4, 32, 16, true, false},
                                         Heads{8, 1, 128, 64, false, true}, Heads{2, 1, 80, 20, false, false},
                                         Heads{1, 1, 256, 128, false, true}));

}  // namespace
}  // namespace deepserve::kernels::cuda
