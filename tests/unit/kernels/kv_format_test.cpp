#include "kernels/cpu/kv_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/float16.h"
#include "kernels/cpu/kernels.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels {
namespace {

std::vector<uint8_t> stored(const Kernels& kernels, KvType type, const std::vector<float>& key,
                            const std::vector<float>& value, size_t slot) {
  const size_t keys = kv_key_bytes(type, key.size());
  std::vector<uint8_t> block(keys + kv_value_bytes(type, key.size()), 0x55);
  KvStoreArguments a;
  a.type = type;
  a.head_dim = key.size();
  a.slot = slot;
  a.key = key.data();
  a.value = value.data();
  a.keys = block.data();
  a.values = block.data() + keys;
  kernels.store_kv(a);
  return block;
}

TEST(KvFormat, EveryPathStoresTheSameBytes) {
  RandomWeights random(31);
  for (const char* isa : {"avx2", "avx512"}) {
    const Kernels* kernels = find_kernels(isa);
    if (kernels == nullptr) continue;
    for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8}) {
      for (size_t head_dim = 2; head_dim < 140; head_dim += 2) {
        const float magnitude = head_dim % 3 == 0 ? 1e-32f : head_dim % 3 == 1 ? 1e5f : 1.0f;
        const auto key = random.floats(head_dim, magnitude), value = random.floats(head_dim);
        const size_t slot = random.number(0, kBlockTokens - 1);
        ASSERT_EQ(stored(*kernels, type, key, value, slot), stored(scalar_kernels(), type, key, value, slot))
            << isa << " " << kv_type_name(type) << " " << head_dim;
      }
    }
  }
}

uint16_t key_scale(const std::vector<uint8_t>& block, size_t head_dim, size_t group, size_t slot) {
  uint16_t scale;
  std::memcpy(&scale, block.data() + kBlockTokens * head_dim + (group * kBlockTokens + slot) * sizeof scale,
              sizeof scale);
  return scale;
}

TEST(KvFormat, ANumberThatIsNotFiniteSpoilsTheScaleOfEightBits) {
  for (const char* isa : {"scalar", "avx2", "avx512"}) {
    const Kernels* kernels = find_kernels(isa);
    if (kernels == nullptr) continue;
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      std::vector<float> key(20, 1.0f), value(20, 1.0f);
      key[17] = value[3] = bad;
      const auto block = stored(*kernels, KvType::kQ8, key, value, 3);
      EXPECT_FALSE(std::isnan(half_to_float(key_scale(block, 20, 1, 3)))) << isa;
      EXPECT_TRUE(std::isnan(half_to_float(key_scale(block, 20, 2, 3)))) << isa;
      float scale;
      const size_t values = kv_key_bytes(KvType::kQ8, 20);
      std::memcpy(&scale, block.data() + values + kBlockTokens * 20 + 3 * sizeof scale, sizeof scale);
      EXPECT_TRUE(std::isnan(scale)) << isa;
    }
  }
}

// Of eight bits a large dimension coarsens the seven beside it, and no other.
TEST(KvFormat, ALargeDimensionOfAKeyCostsItsNeighboursOnly) {
  std::vector<float> key(64, 1.0f);
  key[9] = 100.0f;
  const auto block = stored(scalar_kernels(), KvType::kQ8, key, key, 0);
  for (size_t group = 0; group < 8; ++group) {
    const float largest = group == 1 ? 100.0f : 1.0f;
    EXPECT_NEAR(half_to_float(key_scale(block, 64, group, 0)), largest / 127, largest / 127 / 1000) << group;
  }
}

TEST(KvFormat, HalvesRoundToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto half = static_cast<uint16_t>(bits), next = static_cast<uint16_t>(bits + 1);
    const float value = half_to_float(half);
    ASSERT_EQ(float_to_half(value), half);
    ASSERT_EQ(float_to_half(-value), half | 0x8000);
    const float above = next == 0x7c00 ? 65536.0f : half_to_float(next);
    const float middle = (value + above) / 2;
    ASSERT_EQ(float_to_half(middle), half % 2 == 0 ? half : next) << value;
    ASSERT_EQ(float_to_half(std::nextafter(middle, 0.0f)), half);
    ASSERT_EQ(float_to_half(std::nextafter(middle, 1e9f)), next);
  }
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::infinity()), 0x7c00);
  EXPECT_TRUE(std::isnan(half_to_float(float_to_half(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(KvFormat, TypesAreFoundByName) {
  KvType type = KvType::kQ8;
  EXPECT_TRUE(kv_type_from_name("f16", type));
  EXPECT_EQ(type, KvType::kF16);
  EXPECT_FALSE(kv_type_from_name("q4", type));
  EXPECT_EQ(type, KvType::kF16);
}

}  // namespace
}  // namespace deepserve::kernels
