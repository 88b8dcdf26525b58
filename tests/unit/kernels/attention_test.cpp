#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cpu/float16.h"
#include "kernels/cpu/kernels.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels {
namespace {

// What the cache gives back for a value that it was given, or for a key's dimensions of one scale.
std::vector<float> value_as_stored(KvType type, std::vector<float> x, bool is_key = false) {
  if (type == KvType::kF16) {
    for (float& value : x) value = half_to_float(float_to_half(value));
  }
  if (type == KvType::kQ8) {
    float largest = 0;
    for (const float value : x) largest = std::max(largest, std::abs(value));
    const float scale = is_key ? half_to_float(float_to_half(largest / 127.0f)) : largest / 127.0f;
    for (float& value : x) value = std::nearbyint(value * (127.0f / largest)) * scale;
  }
  return x;
}

std::vector<float> key_as_stored(KvType type, const std::vector<float>& x) {
  std::vector<float> key;
  for (size_t begin = 0; begin < x.size(); begin += kKeyScaleDims) {
    const auto from = x.begin() + static_cast<ptrdiff_t>(begin);
    const auto count = static_cast<ptrdiff_t>(std::min(kKeyScaleDims, x.size() - begin));
    const auto part = value_as_stored(type, {from, from + count}, true);
    key.insert(key.end(), part.begin(), part.end());
  }
  return key;
}

// The last `tokens` positions of one sequence ask, with `heads` queries each. The blocks of the cache lie in
// random order; what no position owns is NaN.
struct Problem {
  Problem(RandomWeights& random, KvType kv_type, size_t context_size, size_t dim, size_t token_count,
          size_t head_count, float key_magnitude)
      : type(kv_type),
        context(context_size),
        head_dim(dim),
        tokens(token_count),
        heads(head_count),
        queries(random.floats(token_count * head_count * dim)) {
    const size_t count = (context + kBlockTokens - 1) / kBlockTokens;
    blocks.resize(count);
    for (size_t i = 0; i < count; ++i) blocks[i] = static_cast<uint32_t>(i);
    for (size_t i = 1; i < count; ++i) std::swap(blocks[i], blocks[random.number(0, i)]);
    memory.assign(count * stride(), 0xff);
    for (size_t p = 0; p < context; ++p) {
      keys.push_back(random.floats(dim, key_magnitude));
      values.push_back(random.floats(dim));
      store(p);
    }
  }

  void store(size_t position) {
    KvStoreArguments a;
    a.type = type;
    a.head_dim = head_dim;
    a.slot = position % kBlockTokens;
    a.key = keys[position].data();
    a.value = values[position].data();
    a.keys = memory.data() + blocks[position / kBlockTokens] * stride();
    a.values = a.keys + kv_key_bytes(type, head_dim);
    scalar_kernels().store_kv(a);
  }
  size_t stride() const { return kv_key_bytes(type, head_dim) + kv_value_bytes(type, head_dim); }

  AttentionArguments arguments(float* out) const {
    AttentionArguments a;
    a.queries = queries.data();
    a.query_stride = a.out_stride = heads * head_dim;
    a.tokens = tokens;
    a.heads = heads;
    a.position = context - tokens;
    a.head_dim = head_dim;
    a.scale = 1 / std::sqrt(static_cast<float>(head_dim));
    a.kv_type = type;
    a.cache = memory.data();
    a.blocks = blocks.data();
    a.block_stride = stride();
    a.value_offset = kv_key_bytes(type, head_dim);
    a.out = out;
    return a;
  }
  std::vector<float> attend(const Kernels& kernels) const {
    std::vector<float> out(queries.size());
    kernels.attention(arguments(out.data()));
    return out;
  }

  // The tokens in random runs, the heads in random groups.
  std::vector<float> attend_apart(const Kernels& kernels, RandomWeights& random) const {
    std::vector<float> out(queries.size());
    for (size_t token = 0; token < tokens;) {
      const size_t count = random.number(1, tokens - token);
      for (size_t head = 0; head < heads;) {
        AttentionArguments part = arguments(out.data());
        part.queries += token * part.query_stride + head * head_dim;
        part.out += token * part.out_stride + head * head_dim;
        part.tokens = count;
        part.position += token;
        part.heads = random.number(1, heads - head);
        head += part.heads;
        kernels.attention(part);
      }
      token += count;
    }
    return out;
  }

  std::vector<double> exact(size_t token, size_t head) const {
    const float* query = &queries[(token * heads + head) * head_dim];
    const size_t seen = context - tokens + token + 1;
    std::vector<double> scores(seen), out(head_dim);
    for (size_t p = 0; p < seen; ++p) {
      const auto key = key_as_stored(type, keys[p]);
      for (size_t d = 0; d < head_dim; ++d) scores[p] += static_cast<double>(query[d]) * key[d];
      scores[p] /= std::sqrt(static_cast<double>(head_dim));
    }
    const double maximum = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    for (double& score : scores) total += score = std::exp(score - maximum);
    for (size_t p = 0; p < seen; ++p) {
      const auto value = value_as_stored(type, values[p]);
      for (size_t d = 0; d < head_dim; ++d) out[d] += scores[p] / total * value[d];
    }
    return out;
  }

  KvType type;
  size_t context, head_dim, tokens, heads;
  std::vector<std::vector<float>> keys, values;  // [position][head_dim]
  std::vector<float> queries;
  std::vector<uint8_t> memory;
  std::vector<uint32_t> blocks;
};

class AttentionOf : public testing::TestWithParam<std::tuple<const char*, KvType>> {
 protected:
  void SetUp() override {
    kernels_ = find_kernels(std::get<0>(GetParam()));
    if (kernels_ == nullptr) GTEST_SKIP() << "this CPU has no " << std::get<0>(GetParam());
  }
  Problem problem(RandomWeights& random, size_t context_max, float key_magnitude) const {
    const size_t context = random.number(1, context_max);
    return {random,
            type_,
            context,
            random.number(1, 70) * 2,
            random.number(1, std::min<size_t>(context, 30)),
            random.number(1, 9),
            key_magnitude};
  }
  const Kernels* kernels_ = nullptr;
  const KvType type_ = std::get<1>(GetParam());
};

TEST_P(AttentionOf, MatchesFloat64OverAnyContextAndHeadSize) {
  RandomWeights random(4);
  for (int round = 0; round < 100; ++round) {
    const float magnitude = round % 3 == 0 ? 40.0f : 1.0f;  // peaked scores too
    const Problem p = problem(random, 200, magnitude);
    const auto actual = p.attend(*kernels_);
    const size_t token = random.number(0, p.tokens - 1), head = random.number(0, p.heads - 1);
    const auto exact = p.exact(token, head);
    for (size_t d = 0; d < exact.size(); ++d) {
      ASSERT_NEAR(actual[(token * p.heads + head) * p.head_dim + d], exact[d], 2e-6 * magnitude + 2e-6)
          << "context " << p.context << " head_dim " << p.head_dim << " element " << d;
    }
  }
}

TEST_P(AttentionOf, ResultsDoNotDependOnTheTile) {
  RandomWeights random(5);
  for (int round = 0; round < 100; ++round) {
    const Problem p = problem(random, 300, 3.0f);
    const auto together = p.attend(*kernels_), apart = p.attend_apart(*kernels_, random);
    ASSERT_EQ(std::memcmp(together.data(), apart.data(), together.size() * sizeof(float)), 0)
        << "context " << p.context << " tokens " << p.tokens << " heads " << p.heads << " head_dim "
        << p.head_dim;
  }
}

TEST_P(AttentionOf, NeverReadsPositionsBeyondTheContext) {
  RandomWeights random(6);
  for (size_t context = 1; context <= 6 * kBlockTokens + 1; ++context) {
    for (const float value : Problem(random, type_, context, 8, 1, 3, 1.0f).attend(*kernels_))
      ASSERT_FALSE(std::isnan(value)) << context;
  }
}

TEST_P(AttentionOf, LaterTokensOfATileDoNotReachEarlierOnes) {
  RandomWeights random(7);
  for (size_t context = 9; context <= 6 * kBlockTokens + 9; ++context) {
    Problem p(random, type_, context, 8, 9, 3, 1.0f);
    p.keys.back().assign(8, std::numeric_limits<float>::quiet_NaN());
    p.values.back() = p.keys.back();
    p.store(context - 1);
    const auto out = p.attend(*kernels_);
    const size_t last = 8 * p.heads * p.head_dim;  // where the outputs of the last of 9 tokens begin
    for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(std::isnan(out[i]), i >= last) << context << " " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, AttentionOf,
                         testing::Combine(testing::Values("scalar", "avx2", "avx512"),
                                          testing::Values(KvType::kF32, KvType::kF16, KvType::kQ8)),
                         [](const auto& isa) {
                           return std::string(std::get<0>(isa.param)) + "_" +
                                  std::string(kv_type_name(std::get<1>(isa.param)));
                         });

}  // namespace
}  // namespace deepserve::kernels
