#include "kernels/cpu/dequantize.h"

#include <cstring>

#include "kernels/cpu/float16.h"

namespace deepserve::kernels {

void dequantize_q4_0(const uint8_t* block, float* out) {
  const float scale = half_to_float(load_u16(block));
  for (int i = 0; i < 16; ++i) {
    const uint8_t nibbles = block[2 + i];
    out[i] = scale * static_cast<float>((nibbles & 15) - 8);
    out[i + 16] = scale * static_cast<float>((nibbles >> 4) - 8);
  }
}

void dequantize_q4_1(const uint8_t* block, float* out) {
  const float scale = half_to_float(load_u16(block));
  const float minimum = half_to_float(load_u16(block + 2));
  for (int i = 0; i < 16; ++i) {
    const uint8_t nibbles = block[4 + i];
    out[i] = scale * static_cast<float>(nibbles & 15) + minimum;
    out[i + 16] = scale * static_cast<float>(nibbles >> 4) + minimum;
  }
}

void dequantize_q5_0(const uint8_t* block, float* out) {
  const float scale = half_to_float(load_u16(block));
  uint32_t high_bits;
  std::memcpy(&high_bits, block + 2, sizeof high_bits);
  for (int i = 0; i < 16; ++i) {
    const uint8_t nibbles = block[6 + i];
    const int low = (nibbles & 15) | static_cast<int>(high_bits >> i & 1) << 4;
    const int high = (nibbles >> 4) | static_cast<int>(high_bits >> (i + 16) & 1) << 4;
    out[i] = scale * static_cast<float>(low - 16);
    out[i + 16] = scale * static_cast<float>(high - 16);
  }
}

void dequantize_q8_0(const uint8_t* block, float* out) {
  const float scale = half_to_float(load_u16(block));
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

void q4_k_scale(const uint8_t* packed, int group, uint8_t& scale, uint8_t& minimum) {
  if (group < 4) {
    scale = packed[group] & 63;
    minimum = packed[group + 4] & 63;
  } else {
    scale = static_cast<uint8_t>((packed[group + 4] & 15) | (packed[group - 4] >> 6) << 4);
    minimum = static_cast<uint8_t>((packed[group + 4] >> 4) | (packed[group] >> 6) << 4);
  }
}

void dequantize_q4_k(const uint8_t* block, float* out) {
  const float scale_of_scales = half_to_float(load_u16(block));
  const float scale_of_minima = half_to_float(load_u16(block + 2));
  for (int group = 0; group < 8; ++group) {
    uint8_t scale_bits, minimum_bits;
    q4_k_scale(block + 4, group, scale_bits, minimum_bits);
    const float scale = scale_of_scales * scale_bits;
    const float minimum = scale_of_minima * minimum_bits;
    const uint8_t* nibbles = block + 16 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) *out++ = scale * static_cast<float>(nibbles[i] >> shift & 15) - minimum;
  }
}

void dequantize_q6_k(const uint8_t* block, float* out) {
  const float scale_of_scales = half_to_float(load_u16(block + 208));
  for (int group = 0; group < 8; ++group) {  // of 32 elements; four groups share 64 low and 32 high bytes
    const int half = group / 4, quarter = group % 4;
    const uint8_t* low = block + half * 64 + quarter % 2 * 32;
    const uint8_t* high = block + 128 + half * 32;
    const uint8_t* scales = block + 192 + group * 2;
    for (int i = 0; i < 32; ++i) {
      const int q = (low[i] >> (quarter / 2 * 4) & 15) | (high[i] >> (quarter * 2) & 3) << 4;
      const float scale = scale_of_scales * static_cast<float>(static_cast<int8_t>(scales[i / 16]));
      *out++ = scale * static_cast<float>(q - 32);
    }
  }
}

void dequantize_row(WeightType type, const uint8_t* row, size_t elements, float* out) {
  switch (type) {
    case WeightType::kF32:
      std::memcpy(out, row, elements * sizeof(float));
      return;
    case WeightType::kF16:
      for (size_t i = 0; i < elements; ++i) out[i] = half_to_float(load_u16(row + 2 * i));
      return;
    case WeightType::kBF16:
      for (size_t i = 0; i < elements; ++i) out[i] = bfloat16_to_float(load_u16(row + 2 * i));
      return;
    default:
      break;
  }
  const WeightFormat& format = weight_format(type);
  for (size_t i = 0; i < elements; i += format.block_elements, row += format.block_bytes) {
    switch (type) {
      case WeightType::kQ4_0:
        dequantize_q4_0(row, out + i);
        break;
      case WeightType::kQ4_1:
        dequantize_q4_1(row, out + i);
        break;
      case WeightType::kQ5_0:
        dequantize_q5_0(row, out + i);
        break;
      case WeightType::kQ8_0:
        dequantize_q8_0(row, out + i);
        break;
      case WeightType::kQ4K:
        dequantize_q4_k(row, out + i);
        break;
      case WeightType::kQ6K:
        dequantize_q6_k(row, out + i);
        break;
      default:
        break;
    }
  }
}

}  // namespace deepserve::kernels
