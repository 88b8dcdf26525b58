#include "runner/model/weight_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "kernels/cpu/dequantize.h"
#include "runner/model/finite_weights.h"
#include "runner/model/huggingface/safetensors.h"
#include "tests/unit/model/safetensors_writer.h"
#include "tests/unit/model/temporary_file.h"

namespace deepserve::runner {
namespace {

using kernels::WeightType;
using testing::HasSubstr;

constexpr size_t kPieceBytes = 8u << 20;

TEST(FiniteWeights, AreThoseThatDequantiseToFiniteNumbers) {
  const uint32_t seed = 3;
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  for (size_t t = 0; t < static_cast<size_t>(WeightType::kCount); ++t) {
    const auto type = static_cast<WeightType>(t);
    const auto& format = kernels::weight_format(type);
    SCOPED_TRACE(format.name);
    int finite_blocks = 0, other_blocks = 0;
    for (int round = 0; round < 20'000; ++round) {
      std::vector<uint8_t> block(format.block_bytes);
      for (uint8_t& byte : block) byte = static_cast<uint8_t>(random());
      std::vector<float> values(format.block_elements);
      kernels::dequantize_row(type, block.data(), format.block_elements, values.data());
      const bool finite = std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
      ASSERT_EQ(find_not_finite(type, block.data(), block.data() + block.size()) == nullptr, finite);
      ++(finite ? finite_blocks : other_blocks);
    }
    EXPECT_GT(finite_blocks, 0);
    EXPECT_GT(other_blocks, 0);
  }
}

TEST(FiniteWeights, TheFirstBadOneIsFoundWhereverItIs) {
  std::vector<float> numbers(10'000, 1.5f);
  const auto* begin = reinterpret_cast<const uint8_t*>(numbers.data());
  const auto* end = begin + numbers.size() * sizeof(float);
  EXPECT_EQ(find_not_finite(WeightType::kF32, begin, end), nullptr);
  EXPECT_EQ(find_not_finite(WeightType::kF32, begin, begin), nullptr);
  for (const size_t bad : {9'999, 4'097, 4'096, 4'095, 1, 0}) {
    numbers[bad] =
        bad % 2 == 0 ? std::numeric_limits<float>::quiet_NaN() : -std::numeric_limits<float>::infinity();
    EXPECT_EQ(find_not_finite(WeightType::kF32, begin, end), begin + bad * sizeof(float));
  }
}

// Two F32 tensors whose data begins at an odd address, so that numbers lie across the borders of pieces.
class LargeModel {
 public:
  static constexpr size_t kFirstNumbers = 1'000, kSecondNumbers = 5'000'000;

  LargeModel() : first_(kFirstNumbers, 0.5f), second_(kSecondNumbers) {
    for (size_t i = 0; i < second_.size(); ++i) second_[i] = static_cast<float>(i % 1'000);
  }
  std::vector<float>& second() { return second_; }
  // Of the number in the second tensor that lies across the end of the first piece.
  size_t across() const { return (kPieceBytes - data_begin() - kFirstNumbers * 4) / 4; }

  Result<uint64_t> read(const WeightReading& reading) const {
    const auto bytes = file();
    const TemporaryFile temporary(bytes);
    ModelFiles files;
    TRY(files.open(temporary.path()));
    TRY_ASSIGN(const auto stored, parse_safetensors(files.last().bytes(), "m"));
    ModelTensors tensors("m", TensorNaming::kHuggingFace);
    TRY(tensors.add_file("m.safetensors", stored));
    return read_weights(files, tensors, reading);
  }
  uint64_t size() const { return file().size(); }

 private:
  static std::vector<uint8_t> bytes_of(const std::vector<float>& numbers) {
    std::vector<uint8_t> bytes(numbers.size() * sizeof(float));
    std::memcpy(bytes.data(), numbers.data(), bytes.size());
    return bytes;
  }
  std::vector<uint8_t> file() const {
    const NamedTensor tensors[] = {{"first", WeightType::kF32, {first_.size()}, bytes_of(first_)},
                                   {"second", WeightType::kF32, {second_.size()}, bytes_of(second_)}};
    auto bytes = safetensors_file(tensors);
    return bytes.size() % 2 == 1 ? bytes : safetensors_file(tensors, 1);
  }
  size_t data_begin() const { return file().size() - (first_.size() + second_.size()) * sizeof(float); }

  std::vector<float> first_, second_;
};

uint64_t fingerprint(const LargeModel& model, unsigned threads, uint64_t seed = 0) {
  const auto read = model.read({.seed = seed, .threads = threads, .on_bytes = {}});
  EXPECT_TRUE(read) << read.error().message;
  return read.value_or(0);
}

TEST(WeightReader, ThreadsChangeNothing) {
  const LargeModel model;
  const uint64_t one = fingerprint(model, 1);
  for (const unsigned threads : {2u, 3u, 100u}) EXPECT_EQ(fingerprint(model, threads), one);
  EXPECT_NE(fingerprint(model, 1, 7), one);
}

TEST(WeightReader, EveryPieceCounts) {
  LargeModel model;
  const uint64_t original = fingerprint(model, 2);
  for (const size_t index : {size_t{0}, model.across(), LargeModel::kSecondNumbers - 1}) {
    model.second()[index] += 1;
    EXPECT_NE(fingerprint(model, 2), original) << index;
    model.second()[index] -= 1;
  }
  EXPECT_EQ(fingerprint(model, 2), original);
}

TEST(WeightReader, ProgressGrowsToTheEnd) {
  const LargeModel model;
  std::vector<uint64_t> progress;
  ASSERT_TRUE(
      model.read({.seed = 0, .threads = 2, .on_bytes = [&](uint64_t bytes) { progress.push_back(bytes); }}));
  EXPECT_TRUE(std::ranges::is_sorted(progress));
  EXPECT_EQ(progress.back(), model.size());
}

TEST(WeightReader, ANumberThatIsNoneIsNamedWithItsTensor) {
  LargeModel model;
  const size_t last = LargeModel::kSecondNumbers - 1;
  for (const size_t index : {last, model.across() + 1, model.across(), model.across() - 1, size_t{0}}) {
    model.second()[index] = std::numeric_limits<float>::quiet_NaN();  // the first of those so far
    for (const unsigned threads : {1u, 2u}) {
      const auto read = model.read({.seed = 0, .threads = threads, .on_bytes = {}});
      ASSERT_FALSE(read);
      EXPECT_EQ(read.error().code, Code::kBadModelFile);
      EXPECT_THAT(read.error().message, HasSubstr("m.safetensors: tensor \"second\" at offset "));
      EXPECT_THAT(read.error().message, HasSubstr(fmt::format("element {} is not a finite number", index)));
    }
  }
}

}  // namespace
}  // namespace deepserve::runner
