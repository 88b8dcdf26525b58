// Packed matrices: every instruction set and every way to cut the work gives the same bits, and these are
// the product of the dequantised weights and the rounded inputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/cpu/dequantize.h"
#include "kernels/cpu/kernels.h"
#include "tests/unit/kernels/guarded_pages.h"
#include "tests/unit/kernels/random_parts.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels {
namespace {

std::vector<WeightType> packable_types() {
  std::vector<WeightType> types = all_weight_types();
  types.erase(std::remove_if(types.begin(), types.end(), [](WeightType type) { return !is_packable(type); }),
              types.end());
  return types;
}

std::vector<InputBlock> quantized(const Kernels& kernels, const std::vector<float>& inputs, size_t columns) {
  std::vector<InputBlock> blocks(inputs.size() / kInputBlock);
  for (size_t begin = 0; begin < inputs.size(); begin += columns) {
    kernels.quantize_inputs(inputs.data() + begin, columns, blocks.data() + begin / kInputBlock);
  }
  return blocks;
}

// A matrix as it lies in a file, packed so that the last byte is the last of a page.
struct Problem {
  Problem(RandomWeights& random, WeightType type, size_t rows, size_t columns, size_t token_count)
      : Problem(random_rows(random, type, rows, columns), type, rows, columns,
                random.floats(token_count * columns)) {
    bias = random.floats(rows);
  }
  Problem(std::vector<uint8_t> file_bytes, WeightType type, size_t rows, size_t columns,
          std::vector<float> input_values)
      : bytes(std::move(file_bytes)),
        inputs(std::move(input_values)),
        bias(rows),
        tokens(inputs.size() / columns),
        stored{bytes.data(), type, rows, columns, weight_row_bytes(type, columns)},
        blocks(quantized(scalar_kernels(), inputs, columns)) {
    const size_t size = packed_bytes(type, rows, columns);
    EXPECT_LE(size, GuardedPages::kBytes);
    packed = {pages.end() - size, type, rows, columns};
    const size_t groups = row_groups(rows);  // in two pieces, the second first
    pack_row_groups(stored, groups / 2, groups, pages.end() - size);
    pack_row_groups(stored, 0, groups / 2, pages.end() - size);
  }

  static std::vector<uint8_t> random_rows(RandomWeights& random, WeightType type, size_t rows,
                                          size_t columns) {
    std::vector<uint8_t> all;
    for (size_t r = 0; r < rows; ++r) {
      const auto row = random.row(type, columns);
      all.insert(all.end(), row.begin(), row.end());
    }
    return all;
  }

  PackedMatmulArguments arguments(std::vector<float>& outputs) const {
    PackedMatmulArguments a;
    a.weights = packed;
    a.group_end = row_groups(packed.rows);
    a.inputs = blocks.data();
    a.tokens = tokens;
    a.outputs = outputs.data();
    a.output_stride = packed.rows;
    a.bias = bias.data();
    a.parts = parts;
    return a;
  }
  std::vector<float> outputs_of(const Kernels& kernels) const {
    std::vector<float> outputs(tokens * packed.rows);
    kernels.packed_matmul(arguments(outputs));
    return outputs;
  }

  std::vector<uint8_t> bytes;
  std::vector<float> inputs;
  std::vector<float> bias;
  size_t tokens;
  Matrix stored;
  std::vector<InputBlock> blocks;
  GuardedPages pages;
  PackedMatrix packed;
  ColumnParts parts;
};

Problem random_problem(RandomWeights& random, WeightType type) {
  const size_t block = weight_format(type).block_elements;
  const size_t columns = random.number(1, block == 32 ? 25 : 3) * block;
  const size_t tokens = random.number(0, 3) == 0 ? random.number(20, 120) : random.number(1, 20);
  return {random, type, random.number(1, 60), columns, tokens};
}

void cut_columns(RandomWeights& random, Problem& problem) {
  problem.parts = random_parts(random, problem.packed.columns, kInputBlock);
}

void expect_same_bits(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(std::memcmp(&actual[i], &expected[i], sizeof(float)), 0)
        << "output " << i << ": " << actual[i] << ", not " << expected[i];
  }
}

class PackedMatmulOf : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    kernels_ = find_kernels(GetParam());
    if (kernels_ == nullptr) GTEST_SKIP() << "this CPU has no " << GetParam();
  }
  const Kernels* kernels_ = nullptr;
};

TEST_P(PackedMatmulOf, HasTheBitsOfTheReference) {
  RandomWeights random(40);
  for (const WeightType type : packable_types()) {
    for (int round = 0; round < 40; ++round) {
      Problem problem = random_problem(random, type);
      if (round >= 25) cut_columns(random, problem);
      SCOPED_TRACE(testing::Message() << weight_format(type).name << " " << problem.packed.rows << "x"
                                      << problem.packed.columns << ", " << problem.tokens << " tokens");
      ASSERT_NO_FATAL_FAILURE(
          expect_same_bits(problem.outputs_of(*kernels_), problem.outputs_of(scalar_kernels())));
    }
  }
}

TEST_P(PackedMatmulOf, BitsDoNotDependOnTokensOrGroupsOfACall) {
  RandomWeights random(41);
  for (const WeightType type : packable_types()) {
    for (int round = 0; round < 25; ++round) {
      Problem problem = random_problem(random, type);
      if (round >= 15) cut_columns(random, problem);
      SCOPED_TRACE(testing::Message() << weight_format(type).name << " " << problem.packed.rows << "x"
                                      << problem.packed.columns << ", " << problem.tokens << " tokens");
      std::vector<float> apart(problem.tokens * problem.packed.rows);
      const size_t groups = row_groups(problem.packed.rows);
      for (size_t token = 0; token < problem.tokens;) {
        const size_t count = random.number(1, std::min<size_t>(problem.tokens - token, 15));
        for (size_t group = 0; group < groups;) {
          PackedMatmulArguments part = problem.arguments(apart);
          part.group_begin = group;
          part.group_end = group += random.number(1, groups - group);
          part.tokens = count;
          part.inputs += token * input_blocks(problem.packed.columns);
          part.outputs += token * part.output_stride;
          kernels_->packed_matmul(part);
        }
        token += count;
      }
      ASSERT_NO_FATAL_FAILURE(expect_same_bits(apart, problem.outputs_of(*kernels_)));
    }
  }
}

// What one process sums is what the ranks of a group sum: each a branch of the tree.
TEST_P(PackedMatmulOf, SumsOfPartsAreJoinedByTheirTree) {
  RandomWeights random(47);
  for (const WeightType type : packable_types()) {
    for (int round = 0; round < 15; ++round) {
      Problem problem = random_problem(random, type);
      cut_columns(random, problem);
      const auto product = [&](const ColumnParts& parts) {
        std::vector<float> outputs(problem.tokens * problem.packed.rows);
        PackedMatmulArguments arguments = problem.arguments(outputs);
        arguments.parts = parts;
        arguments.bias = nullptr;
        kernels_->packed_matmul(arguments);
        return outputs;
      };
      SCOPED_TRACE(testing::Message() << weight_format(type).name << ", " << problem.parts.count << " parts, "
                                      << problem.tokens << " tokens");
      ASSERT_NO_FATAL_FAILURE(expect_same_bits(
          product(problem.parts), joined_products(problem.parts, 0, problem.parts.count, product)));
    }
  }
}

TEST_P(PackedMatmulOf, OutputsAreWithinHalfAStepOfTheInputsOfTheExactProduct) {
  RandomWeights random(42);
  for (const WeightType type : packable_types()) {
    for (int round = 0; round < 10; ++round) {
      const Problem problem = random_problem(random, type);
      const auto outputs = problem.outputs_of(*kernels_);
      const size_t columns = problem.packed.columns;
      std::vector<float> row(columns);
      for (size_t r = 0; r < problem.packed.rows; ++r) {
        dequantize_row(type, problem.bytes.data() + r * problem.stored.row_bytes, columns, row.data());
        float largest = 0;
        for (const float weight : row) largest = std::max(largest, std::abs(weight));
        for (size_t t = 0; t < problem.tokens; ++t) {
          double exact = problem.bias[r], of_rounded = exact, steps = 0, magnitude = std::abs(exact);
          for (size_t c = 0; c < columns; ++c) {
            const double weight = row[c], input = problem.inputs[t * columns + c];
            const InputBlock& block = problem.blocks[(t * columns + c) / kInputBlock];
            exact += weight * input;
            of_rounded += weight * (static_cast<double>(block.scale) * block.codes[c % kInputBlock]);
            steps += std::abs(weight) * (0.5 * block.scale);
            magnitude += 2 * largest * std::abs(input);  // twice: a minimum may cancel the rest
          }
          const double actual = outputs[t * problem.packed.rows + r];
          ASSERT_NEAR(actual, of_rounded, 1e-6 * magnitude) << weight_format(type).name << " row " << r;
          ASSERT_NEAR(actual, exact, steps * 1.0001 + 1e-6 * magnitude) << weight_format(type).name;
        }
      }
    }
  }
}

// Codes at both ends of their range against inputs at both ends of theirs: where 16-bit sums would saturate.
TEST_P(PackedMatmulOf, ExtremesDoNotSaturate) {
  for (const WeightType type : packable_types()) {
    const size_t columns = 256, row_bytes = weight_row_bytes(type, columns);
    for (const uint8_t fill : {0x00, 0x7f, 0x80, 0x81, 0xff}) {
      RandomWeights random(43);
      auto bytes = random.row(type, columns);
      std::fill(bytes.begin(), bytes.end(), fill);
      const uint32_t block_bytes = weight_format(type).block_bytes;
      for (size_t block = 0; block < row_bytes; block += block_bytes) {  // halves stay finite
        RandomWeights::put_half(&bytes[block], 0.5f);
        if (type == WeightType::kQ4_1 || type == WeightType::kQ5_1 || type == WeightType::kQ4K ||
            type == WeightType::kQ5K)
          RandomWeights::put_half(&bytes[block + 2], 0.25f);
        if (type == WeightType::kQ6K) RandomWeights::put_half(&bytes[block + 208], 0.5f);
      }
      std::vector<float> inputs(9 * columns, 1.0f);
      for (size_t c = 0; c < columns; ++c) {
        inputs[columns + c] = -1.0f;
        inputs[2 * columns + c] = c % 2 == 0 ? 1.0f : -1.0f;
      }
      const Problem problem(bytes, type, 1, columns, inputs);
      const auto outputs = problem.outputs_of(*kernels_);
      std::vector<float> row(columns);
      dequantize_row(type, bytes.data(), columns, row.data());
      for (size_t t = 0; t < problem.tokens; ++t) {
        double exact = 0, magnitude = 0;
        for (size_t c = 0; c < columns; ++c) {
          exact += static_cast<double>(row[c]) * inputs[t * columns + c];
          magnitude += std::abs(row[c]) + 100;
        }
        ASSERT_NEAR(outputs[t], exact, 1e-6 * magnitude) << weight_format(type).name << ", bytes " << +fill;
      }
    }
  }
}

TEST_P(PackedMatmulOf, AccumulateAddsToWhatIsThere) {
  RandomWeights random(44);
  for (const size_t tokens : {size_t{1}, size_t{3}, size_t{17}}) {
    const Problem problem(random, WeightType::kQ8_0, 21, 64, tokens);
    const auto plain = problem.outputs_of(*kernels_);
    std::vector<float> added(plain.size(), 2.5f);
    PackedMatmulArguments arguments = problem.arguments(added);
    arguments.accumulate = true;
    kernels_->packed_matmul(arguments);
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(added[i], 2.5f + plain[i]);
  }
}

TEST_P(PackedMatmulOf, AnInputThatIsNoNumberSpoilsItsOwnTokenOnly) {
  RandomWeights random(45);
  for (const WeightType type : packable_types()) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
      Problem problem(random, type, 20, 256, 8);
      problem.inputs[3 * 256 + 77] = bad;
      problem.blocks = quantized(*kernels_, problem.inputs, 256);
      const auto outputs = problem.outputs_of(*kernels_);
      for (size_t i = 0; i < outputs.size(); ++i) EXPECT_EQ(std::isnan(outputs[i]), i / 20 == 3) << i;
    }
  }
}

TEST_P(PackedMatmulOf, InputsAreRoundedAsTheReferenceRoundsThem) {
  RandomWeights random(46);
  std::vector<float> inputs = random.floats(32 * 200);
  for (size_t block = 0; block < 200; ++block) {  // of all magnitudes, and numbers half-way between codes
    const float magnitude = std::ldexp(1.0f, static_cast<int>(random.number(0, 250)) - 126);
    for (size_t i = 0; i < 32; ++i) inputs[block * 32 + i] *= magnitude;
  }
  for (size_t i = 0; i < 32; ++i) inputs[i] = static_cast<float>(i) * 8 - 127.5f + (i == 31 ? 7 : 0);
  std::fill_n(inputs.begin() + 32, 32, 0.0f);
  std::fill_n(inputs.begin() + 64, 32, -0.0f);
  inputs[97] = std::numeric_limits<float>::infinity();
  inputs[130] = std::numeric_limits<float>::quiet_NaN();
  inputs[161] = std::numeric_limits<float>::max();
  std::fill_n(inputs.begin() + 192, 32, std::numeric_limits<float>::denorm_min());
  const auto actual = quantized(*kernels_, inputs, inputs.size());
  const auto expected = quantized(scalar_kernels(), inputs, inputs.size());
  ASSERT_EQ(std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(InputBlock)), 0);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const InputBlock& block = actual[i / 32];
    if (i / 32 == 3 || i / 32 == 4) {
      EXPECT_TRUE(std::isnan(block.scale));
      continue;
    }
    const double step = block.scale;
    EXPECT_NEAR(step * block.codes[i % 32], inputs[i], step * 0.5001 + 0x1p-100) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, PackedMatmulOf, testing::Values("scalar", "avx2", "avx512"),
                         [](const auto& isa) { return std::string(isa.param); });

TEST(PackedMatrix, RowsHaveTheBitsOfTheStoredOnes) {
  RandomWeights random(46);
  for (const WeightType type : packable_types()) {
    for (int round = 0; round < 10; ++round) {
      const Problem problem = random_problem(random, type);
      const size_t columns = problem.packed.columns;
      SCOPED_TRACE(testing::Message()
                   << weight_format(type).name << " " << problem.packed.rows << "x" << columns);
      for (size_t row = 0; row < problem.packed.rows; ++row) {
        std::vector<float> actual(columns), expected(columns);
        dequantize_packed_row(problem.packed, row, actual.data());
        dequantize_row(type, problem.stored.data + row * problem.stored.row_bytes, columns, expected.data());
        ASSERT_NO_FATAL_FAILURE(expect_same_bits(actual, expected));
      }
    }
  }
}

TEST(PackedMatrix, GrowsByAtMostThreePercent) {
  for (const WeightType type : packable_types()) {
    for (const size_t columns : {size_t{256}, size_t{768}, size_t{1536}, size_t{8960}}) {
      EXPECT_LE(packed_bytes(type, 1600, columns), 1.03 * 1600 * weight_row_bytes(type, columns));
    }
  }
}

TEST(PackedMatrix, ReadsNothingBehindTheLastRow) {
  RandomWeights random(47);
  for (const WeightType type : packable_types()) {
    const size_t columns = weight_format(type).block_elements, row_bytes = weight_row_bytes(type, columns);
    const GuardedPages pages;
    const auto rows = Problem::random_rows(random, type, 17, columns);
    std::memcpy(pages.end() - rows.size(), rows.data(), rows.size());
    std::vector<uint8_t> packed(packed_bytes(type, 17, columns));
    pack_row_groups({pages.end() - rows.size(), type, 17, columns, row_bytes}, 0, 2, packed.data());
  }
}

}  // namespace
}  // namespace deepserve::kernels
