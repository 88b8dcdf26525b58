// Random numbers and random rows of every weight format, from one printed seed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cpu/weight_format.h"

namespace deepserve::kernels {

class RandomWeights {
 public:
  explicit RandomWeights(uint32_t seed) : engine_(seed) { std::printf("seed %u\n", seed); }

  size_t number(size_t min, size_t max) { return std::uniform_int_distribution<size_t>(min, max)(engine_); }
  float uniform(float min, float max) { return std::uniform_real_distribution<float>(min, max)(engine_); }
  std::vector<float> floats(size_t count, float magnitude = 1.0f) {
    std::vector<float> values(count);
    for (float& value : values) value = uniform(-magnitude, magnitude);
    return values;
  }

  // `elements` weights of about +-`magnitude`: every bit of every quantised number is random, scales are
  // sensible.
  std::vector<uint8_t> row(WeightType type, size_t elements, float magnitude = 1.0f) {
    std::vector<uint8_t> bytes(weight_row_bytes(type, elements));
    const size_t block_bytes = weight_format(type).block_bytes;
    if (type == WeightType::kF32) {
      const auto values = floats(elements, magnitude);
      std::memcpy(bytes.data(), values.data(), bytes.size());
      return bytes;
    }
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(engine_());
    for (size_t begin = 0; begin < bytes.size(); begin += block_bytes) {
      uint8_t* block = bytes.data() + begin;
      switch (type) {
        case WeightType::kF16:
          put_half(block, uniform(-magnitude, magnitude));
          break;
        case WeightType::kBF16:
          put_bfloat16(block, uniform(-magnitude, magnitude));
          break;
        case WeightType::kQ4_0:
          put_half(block, uniform(-magnitude, magnitude) / 8);
          break;
        case WeightType::kQ4_1:
          put_half(block, uniform(0, magnitude) / 8);
          put_half(block + 2, -magnitude / 2);
          break;
        case WeightType::kQ5_0:
          put_half(block, uniform(-magnitude, magnitude) / 16);
          break;
        case WeightType::kQ5_1:
          put_half(block, uniform(0, magnitude) / 16);
          put_half(block + 2, -magnitude / 2);
          break;
        case WeightType::kIQ4NL:
          put_half(block, uniform(-magnitude, magnitude) / 127);
          break;
        case WeightType::kQ8_0:
          put_half(block, uniform(-magnitude, magnitude) / 127);
          break;
        case WeightType::kQ2K:
          put_half(block + 80, uniform(0, magnitude) / 3 / 16);
          put_half(block + 82, uniform(0, magnitude) / 16);
          break;
        case WeightType::kQ3K:
          put_half(block + 108, uniform(-magnitude, magnitude) / 4 / 32);
          break;
        case WeightType::kIQ4XS:
          put_half(block, uniform(-magnitude, magnitude) / 127 / 32);
          break;
        case WeightType::kQ4K:
        case WeightType::kQ5K:
          put_half(block, uniform(0, magnitude) / 8 / 64);
          put_half(block + 2, uniform(0, magnitude) / 64);
          break;
        case WeightType::kF8E4M3:
          put_e4m3(block, uniform(-magnitude, magnitude));
          break;
        case WeightType::kQ6K:
          put_half(block + 208, uniform(-magnitude, magnitude) / 32 / 128);
          break;
        default:
          break;
      }
    }
    return bytes;
  }

  // Rounds toward zero; subnormals become 0.
  static void put_half(uint8_t* to, float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const int exponent = static_cast<int>(bits >> 23 & 0xff) - 112;
    uint16_t half = static_cast<uint16_t>(bits >> 16 & 0x8000);
    if (exponent > 0) half |= static_cast<uint16_t>(exponent << 10 | (bits >> 13 & 0x3ff));
    std::memcpy(to, &half, sizeof half);
  }
  static void put_e4m3(uint8_t* to, float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const int exponent = static_cast<int>(bits >> 23 & 0xff) - 120;
    *to = static_cast<uint8_t>(bits >> 24 & 0x80);
    if (exponent > 15)
      *to |= 0x7e;
    else if (exponent > 0)
      *to |= static_cast<uint8_t>(std::min<uint32_t>(exponent << 3 | (bits >> 20 & 7), 0x7e));
  }
  static void put_bfloat16(uint8_t* to, float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const auto upper = static_cast<uint16_t>(bits >> 16);
    std::memcpy(to, &upper, sizeof upper);
  }

 private:
  std::mt19937 engine_;
};

inline std::vector<WeightType> all_weight_types() {
  std::vector<WeightType> types(static_cast<size_t>(WeightType::kCount));
  for (size_t i = 0; i < types.size(); ++i) types[i] = static_cast<WeightType>(i);
  return types;
}

// Those that GGUF files have.
inline std::vector<WeightType> gguf_weight_types() {
  std::vector<WeightType> types = all_weight_types();
  std::erase(types, WeightType::kF8E4M3);
  return types;
}

}  // namespace deepserve::kernels
