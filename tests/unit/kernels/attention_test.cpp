#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/kernels.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels {
namespace {

// A cache of one layer and head whose blocks lie in random order; what no position owns is NaN.
struct Cache {
  Cache(RandomWeights& random, size_t context_size, size_t dim, float key_magnitude)
      : context(context_size),
        head_dim(dim),
        keys(random.floats(context_size * dim, key_magnitude)),
        values(random.floats(context_size * dim)),
        query(random.floats(dim)) {
    const size_t count = (context + kBlockTokens - 1) / kBlockTokens;
    blocks.resize(count);
    for (size_t i = 0; i < count; ++i) blocks[i] = static_cast<uint32_t>(i);
    for (size_t i = 1; i < count; ++i) std::swap(blocks[i], blocks[random.number(0, i)]);
    memory.assign(count * stride(), std::numeric_limits<float>::quiet_NaN());
    for (size_t p = 0; p < context; ++p) {
      float* block = memory.data() + blocks[p / kBlockTokens] * stride();
      std::copy_n(&keys[p * dim], dim, block + p % kBlockTokens * dim);
      std::copy_n(&values[p * dim], dim, block + value_offset() + p % kBlockTokens * dim);
    }
  }

  size_t value_offset() const { return kBlockTokens * head_dim; }
  size_t stride() const { return 2 * kBlockTokens * head_dim; }

  std::vector<float> attend(const Kernels& kernels) const {
    std::vector<float> out(head_dim);
    AttentionArguments a;
    a.query = query.data();
    a.cache = memory.data();
    a.blocks = blocks.data();
    a.block_stride = stride();
    a.value_offset = value_offset();
    a.context = context;
    a.head_dim = head_dim;
    a.scale = 1 / std::sqrt(static_cast<float>(head_dim));
    a.out = out.data();
    kernels.attention(a);
    return out;
  }

  std::vector<double> exact() const {
    std::vector<double> scores(context), out(head_dim);
    for (size_t p = 0; p < context; ++p) {
      for (size_t d = 0; d < head_dim; ++d)
        scores[p] += static_cast<double>(query[d]) * keys[p * head_dim + d];
      scores[p] /= std::sqrt(static_cast<double>(head_dim));
    }
    const double maximum = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    for (double& score : scores) total += score = std::exp(score - maximum);
    for (size_t p = 0; p < context; ++p) {
      for (size_t d = 0; d < head_dim; ++d) out[d] += scores[p] / total * values[p * head_dim + d];
    }
    return out;
  }

  size_t context, head_dim;
  std::vector<float> keys, values, query, memory;
  std::vector<uint32_t> blocks;
};

class AttentionOf : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    kernels_ = find_kernels(GetParam());
    if (kernels_ == nullptr) GTEST_SKIP() << "this CPU has no " << GetParam();
  }
  const Kernels* kernels_ = nullptr;
};

TEST_P(AttentionOf, MatchesFloat64OverAnyContextAndHeadSize) {
  RandomWeights random(4);
  for (int round = 0; round < 200; ++round) {
    const float magnitude = round % 3 == 0 ? 40.0f : 1.0f;  // peaked scores too
    const Cache cache(random, random.number(1, 150), random.number(1, 70) * 2, magnitude);
    const auto actual = cache.attend(*kernels_);
    const auto exact = cache.exact();
    for (size_t d = 0; d < exact.size(); ++d) {
      ASSERT_NEAR(actual[d], exact[d], 2e-6 * magnitude + 2e-6)
          << "context " << cache.context << " head_dim " << cache.head_dim << " element " << d;
    }
  }
}

TEST_P(AttentionOf, NeverReadsPositionsBeyondTheContext) {
  RandomWeights random(5);
  for (size_t context = 1; context <= 2 * kBlockTokens + 1; ++context) {
    for (const float value : Cache(random, context, 8, 1.0f).attend(*kernels_))
      ASSERT_FALSE(std::isnan(value));
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, AttentionOf, testing::Values("scalar", "avx2", "avx512"),
                         [](const auto& isa) { return std::string(isa.param); });

}  // namespace
}  // namespace deepserve::kernels
