#include "kernels/cpu/logits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace deepserve::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<const LogitsKernels*> tables() {
  std::vector<const LogitsKernels*> found;
  for (const char* isa : {"scalar", "avx2", "avx512"}) {
    if (const auto* table = find_logits_kernels(isa)) found.push_back(table);
  }
  return found;
}

std::vector<float> random_row(std::mt19937_64& random, size_t count) {
  std::normal_distribution<float> normal(0, 6);
  std::vector<float> row(count);
  for (float& logit : row) logit = random() % 50 == 0 ? -kInfinity : normal(random);
  return row;
}

struct Looked {
  bool sound;
  std::vector<float> largest;
};
Looked look(const LogitsKernels& table, const std::vector<float>& row) {
  Looked looked{true, std::vector<float>(logits_chunks(row.size()))};
  looked.sound = table.find_largest(row.data(), row.size(), looked.largest.data());
  return looked;
}

const std::vector<size_t> kCounts = {1, 2, 15, 16, 17, 63, 64, 255, 256, 257, 300, 1000, 4096, 5003};

TEST(Logits, TheLargestOfEachChunkIsFoundWhereverItStands) {
  std::mt19937_64 random(1);
  for (const auto* table : tables()) {
    for (const size_t count : kCounts) {
      const auto row = random_row(random, count);
      const auto looked = look(*table, row);
      EXPECT_TRUE(looked.sound);
      for (size_t chunk = 0; chunk < looked.largest.size(); ++chunk) {
        const auto begin = row.begin() + static_cast<ptrdiff_t>(chunk * kLogitsChunk);
        const auto size = std::min<ptrdiff_t>(kLogitsChunk, row.end() - begin);
        EXPECT_EQ(looked.largest[chunk], *std::max_element(begin, begin + size)) << table->isa << count;
      }
    }
  }
}

TEST(Logits, OneValueThatIsNoLogitIsSeenAtAnyPlace) {
  for (const auto* table : tables()) {
    for (const size_t count : {5, 16, 40, 300}) {
      for (size_t at = 0; at < count; ++at) {
        for (const float bad : {kNan, kInfinity}) {
          std::vector<float> row(count, 1.0f);
          row[at] = bad;
          EXPECT_FALSE(look(*table, row).sound) << table->isa << " " << count << " " << at;
        }
      }
    }
  }
}

TEST(Logits, AMaskLeavesOnlyWhatIsAllowed) {
  std::mt19937_64 random(2);
  for (const auto* table : tables()) {
    for (const size_t count : kCounts) {
      auto row = random_row(random, count);
      std::vector<uint64_t> allowed((count + 63) / 64);
      for (auto& word : allowed) word = random() % 3 == 0 ? random() : 0;
      for (size_t i = 0; i < count; ++i) {
        if ((allowed[i / 64] >> i % 64 & 1) == 0 && random() % 10 == 0) row[i] = kNan;  // is not looked at
      }
      std::vector<float> masked(count, kNan), largest(logits_chunks(count));
      EXPECT_TRUE(table->mask(row.data(), count, allowed.data(), masked.data(), largest.data()));
      for (size_t i = 0; i < count; ++i) {
        const float want = (allowed[i / 64] >> i % 64 & 1) != 0 ? row[i] : -kInfinity;
        EXPECT_LE(want, largest[i / kLogitsChunk]);
        if (largest[i / kLogitsChunk] == -kInfinity) continue;  // nothing is written
        EXPECT_EQ(masked[i], want) << table->isa << count << i;
      }
    }
  }
}

TEST(Logits, WhatReachesAThresholdIsCollectedInOrder) {
  std::mt19937_64 random(3);
  for (const auto* table : tables()) {
    for (const size_t count : kCounts) {
      const auto row = random_row(random, count);
      const auto largest = look(*table, row).largest;
      for (const float threshold : {-kInfinity, -3.0f, row[0], 9.0f, 1000.0f}) {
        std::vector<uint32_t> want, found(count + 16);
        for (uint32_t i = 0; i < count; ++i) {
          if (row[i] >= threshold) want.push_back(i);
        }
        found.resize(table->collect(row.data(), count, largest.data(), threshold, found.data()));
        EXPECT_EQ(found, want) << table->isa << " " << count << " " << threshold;
      }
    }
  }
}

TEST(Logits, ExponentialsAreRightToFloatsPrecision) {
  for (const auto* table : tables()) {
    std::vector<float> row;
    for (float x = -70; x <= 0; x += 0.00173f) row.push_back(x);
    std::vector<float> weights(row.size());
    table->exponentials(row.data(), row.size(), 0, 1, weights.data());
    for (size_t i = 0; i < row.size(); ++i) {
      const double want = row[i] < kExponentMin ? 0 : std::exp(static_cast<double>(row[i]));
      EXPECT_NEAR(weights[i], want, want * 0x1p-22) << table->isa << " " << row[i];
    }
    const float one = 0;
    table->exponentials(&one, 1, 0, 1, weights.data());
    EXPECT_EQ(weights[0], 1.0f);
  }
}

TEST(Logits, EveryInstructionSetGivesTheSameBits) {
  std::mt19937_64 random(4);
  const auto* scalar = find_logits_kernels("scalar");
  for (const auto* table : tables()) {
    for (const size_t count : kCounts) {
      const auto row = random_row(random, count);
      const auto largest = look(*scalar, row).largest;
      const float offset = *std::ranges::max_element(row);
      for (const float scale : {1.0f, 0.5f, 17.0f, 3e38f}) {
        std::vector<float> want(count), got(count), want_sums(largest.size()), got_sums(largest.size());
        scalar->exponentials(row.data(), count, offset, scale, want.data());
        table->exponentials(row.data(), count, offset, scale, got.data());
        EXPECT_EQ(want, got) << table->isa << " " << count << " " << scale;
        scalar->sum_exponentials(row.data(), count, largest.data(), scale, want_sums.data());
        table->sum_exponentials(row.data(), count, largest.data(), scale, got_sums.data());
        EXPECT_EQ(want_sums, got_sums) << table->isa << " " << count << " " << scale;
      }
    }
  }
}

TEST(Logits, ASumIsThatOfItsExponentials) {
  std::mt19937_64 random(5);
  const auto* table = find_logits_kernels("");
  const auto row = random_row(random, 5003);
  const auto largest = look(*table, row).largest;
  std::vector<float> weights(kLogitsChunk), sums(largest.size());
  table->sum_exponentials(row.data(), row.size(), largest.data(), 1, sums.data());
  for (size_t chunk = 0; chunk < sums.size(); ++chunk) {
    const size_t begin = chunk * kLogitsChunk, size = std::min(kLogitsChunk, row.size() - begin);
    table->exponentials(&row[begin], size, largest[chunk], 1, weights.data());
    double want = 0;
    for (size_t i = 0; i < size; ++i) want += static_cast<double>(weights[i]);
    EXPECT_NEAR(sums[chunk], want, want * 1e-6);
  }
}

TEST(Logits, AChunkOfNothingAddsUpToNothing) {
  for (const auto* table : tables()) {
    std::vector<float> row(2 * kLogitsChunk, -kInfinity);
    row[3] = 2.0f;
    std::vector<float> largest(2), sums(2, kNan);
    outline_logits(*table, row.data(), row.size(), 0.5f, largest.data(), sums.data());
    EXPECT_EQ(largest, (std::vector<float>{2.0f, -kInfinity}));
    EXPECT_EQ(sums, (std::vector<float>{1.0f, 0.0f}));
  }
}

TEST(Logits, TheOutlineOfWhatAreNoLogitsSaysSo) {
  std::vector<float> row(300, 1.0f), largest(2), sums(2);
  row[280] = kNan;
  outline_logits(*find_logits_kernels(""), row.data(), row.size(), 1.0f, largest.data(), sums.data());
  EXPECT_EQ(*std::ranges::max_element(largest), kInfinity);
}

}  // namespace
}  // namespace deepserve::kernels
