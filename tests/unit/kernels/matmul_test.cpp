#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/dequantize.h"
#include "kernels/cpu/kernels.h"
#include "tests/unit/kernels/random_parts.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels {
namespace {

struct Problem {
  Problem(RandomWeights& random, WeightType type, size_t rows, size_t columns, size_t token_count)
      : tokens(token_count), inputs(random.floats(token_count * columns)), bias(random.floats(rows)) {
    for (size_t r = 0; r < rows; ++r) {
      const auto row = random.row(type, columns);
      bytes.insert(bytes.end(), row.begin(), row.end());
    }
    weights = {bytes.data(), type, rows, columns, weight_row_bytes(type, columns)};
  }

  MatmulArguments arguments(std::vector<float>& outputs) const {
    MatmulArguments a;
    a.weights = weights;
    a.row_end = weights.rows;
    a.inputs = inputs.data();
    a.input_stride = weights.columns;
    a.tokens = tokens;
    a.outputs = outputs.data();
    a.output_stride = weights.rows;
    a.bias = bias.data();
    a.parts = parts;
    return a;
  }

  size_t tokens;
  std::vector<float> inputs;
  std::vector<float> bias;
  std::vector<uint8_t> bytes;
  Matrix weights;
  ColumnParts parts;
};

Problem random_problem(RandomWeights& random, WeightType type) {
  const size_t block = weight_format(type).block_elements;
  const size_t columns = random.number(1, block == 1 ? 200 : block == 32 ? 12 : 4) * block;
  return {random, type, random.number(1, 40), columns, random.number(1, 35)};
}

class MatmulOf : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    kernels_ = find_kernels(GetParam());
    if (kernels_ == nullptr) GTEST_SKIP() << "this CPU has no " << GetParam();
  }
  const Kernels* kernels_ = nullptr;
};

// Longer than any chunk of columns, more tokens than any strip.
Problem large_problem(RandomWeights& random, WeightType type) {
  const size_t block = weight_format(type).block_elements;
  return {random, type, random.number(1, 9), random.number(1025, 2600) / block * block,
          random.number(100, 150)};
}

// Borders at any column where the format has no blocks.
Problem problem_of_parts(RandomWeights& random, WeightType type, bool is_large) {
  Problem problem = is_large ? large_problem(random, type) : random_problem(random, type);
  const size_t unit = weight_format(type).block_elements == 1 ? 1 : 32;
  problem.parts = random_parts(random, problem.weights.columns, unit);
  return problem;
}

constexpr int kRounds = 20;

TEST_P(MatmulOf, EveryOutputIsWithinRoundingOfFloat64) {
  RandomWeights random(1);
  for (const WeightType type : all_weight_types()) {
    for (int round = 0; round < kRounds; ++round) {
      const Problem problem = round == 0 ? large_problem(random, type) : random_problem(random, type);
      std::vector<float> outputs(problem.tokens * problem.weights.rows);
      kernels_->matmul(problem.arguments(outputs));
      std::vector<float> row(problem.weights.columns);
      for (size_t r = 0; r < problem.weights.rows; ++r) {
        dequantize_row(type, problem.bytes.data() + r * problem.weights.row_bytes, row.size(), row.data());
        for (size_t t = 0; t < problem.tokens; ++t) {
          double exact = problem.bias[r], magnitude = std::abs(exact);
          for (size_t c = 0; c < row.size(); ++c) {
            const double product = static_cast<double>(row[c]) * problem.inputs[t * row.size() + c];
            exact += product;
            magnitude += std::abs(product);
          }
          ASSERT_NEAR(outputs[t * problem.weights.rows + r], exact, 1e-6 * magnitude + 1e-30)
              << weight_format(type).name << " row " << r << " token " << t << " of " << problem.tokens;
        }
      }
    }
  }
}

TEST_P(MatmulOf, OutputsDoNotDependOnBatchOrRowRange) {
  RandomWeights random(2);
  for (const WeightType type : all_weight_types()) {
    for (int round = 0; round < 2 * kRounds; ++round) {
      const Problem problem = round >= kRounds ? problem_of_parts(random, type, round == kRounds)
                              : round == 0     ? large_problem(random, type)
                                               : random_problem(random, type);
      const size_t rows = problem.weights.rows;
      std::vector<float> together(problem.tokens * rows), apart(problem.tokens * rows);
      kernels_->matmul(problem.arguments(together));
      for (size_t token = 0; token < problem.tokens;) {
        const size_t count = random.number(1, problem.tokens - token);
        for (size_t row = 0; row < rows;) {
          MatmulArguments part = problem.arguments(apart);
          part.row_begin = row;
          part.row_end = row += random.number(1, rows - row);
          part.tokens = count;
          part.inputs += token * part.input_stride;
          part.outputs += token * part.output_stride;
          kernels_->matmul(part);
        }
        token += count;
      }
      ASSERT_EQ(std::memcmp(together.data(), apart.data(), together.size() * sizeof(float)), 0)
          << weight_format(type).name << " " << rows << "x" << problem.weights.columns;
    }
  }
}

// What one process sums is what the ranks of a group sum: each a branch of the tree, in a matrix that ends
// where its columns end.
TEST_P(MatmulOf, SumsOfPartsAreJoinedByTheirTree) {
  RandomWeights random(4);
  for (const WeightType type : all_weight_types()) {
    for (int round = 0; round < kRounds; ++round) {
      const Problem problem = problem_of_parts(random, type, round == 0);
      const auto product = [&](ColumnParts parts) {
        std::vector<float> outputs(problem.tokens * problem.weights.rows);
        MatmulArguments arguments = problem.arguments(outputs);
        const WeightFormat& format = weight_format(type);
        const size_t first = parts.begin / format.block_elements,
                     first_column = first * format.block_elements;
        arguments.weights.data += first * format.block_bytes;
        arguments.weights.columns -= first_column;
        arguments.inputs += first_column;
        arguments.parts = parts;
        arguments.parts.begin -= first_column;
        for (size_t part = 0; part < parts.count; ++part) arguments.parts.ends[part] -= first_column;
        arguments.bias = nullptr;
        kernels_->matmul(arguments);
        return outputs;
      };
      const auto whole = product(problem.parts);
      const auto joined = joined_products(problem.parts, 0, problem.parts.count, product);
      ASSERT_EQ(std::memcmp(whole.data(), joined.data(), whole.size() * sizeof(float)), 0)
          << weight_format(type).name << ", " << problem.parts.count << " parts of "
          << problem.weights.columns << ", " << problem.tokens << " tokens";
    }
  }
}

TEST_P(MatmulOf, AccumulateAddsToWhatIsThere) {
  RandomWeights random(3);
  const Problem problem(random, WeightType::kQ8_0, 5, 64, 3);
  std::vector<float> plain(15), added(15, 2.5f);
  kernels_->matmul(problem.arguments(plain));
  MatmulArguments arguments = problem.arguments(added);
  arguments.accumulate = true;
  kernels_->matmul(arguments);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(added[i], 2.5f + plain[i]);
}

INSTANTIATE_TEST_SUITE_P(Isa, MatmulOf, testing::Values("scalar", "avx2", "avx512"),
                         [](const auto& isa) { return std::string(isa.param); });

}  // namespace
}  // namespace deepserve::kernels
