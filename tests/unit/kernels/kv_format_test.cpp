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
  const size_t part = kv_part_bytes(type, key.size());
  std::vector<uint8_t> block(2 * part, 0x55);
  KvStoreArguments a;
  a.type = type;
  a.head_dim = key.size();
  a.slot = slot;
  a.key = key.data();
  a.value = value.data();
  a.keys = block.data();
  a.values = block.data() + part;
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

TEST(KvFormat, ANumberThatIsNotFiniteSpoilsTheScaleOfEightBits) {
  for (const char* isa : {"scalar", "avx2", "avx512"}) {
    const Kernels* kernels = find_kernels(isa);
    if (kernels == nullptr) continue;
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      std::vector<float> key(20, 1.0f);
      key[17] = bad;
      const auto block = stored(*kernels, KvType::kQ8, key, std::vector<float>(20, 1.0f), 3);
      float scale;
      std::memcpy(&scale, block.data() + kBlockTokens * 20 + 3 * sizeof scale, sizeof scale);
      EXPECT_TRUE(std::isnan(scale)) << isa;
    }
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
