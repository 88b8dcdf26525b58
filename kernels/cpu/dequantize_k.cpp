// The formats whose blocks have 256 elements, in eight groups of 32 with scales of their own.
#include "kernels/cpu/dequantize.h"
#include "kernels/cpu/float16.h"
#include "kernels/cpu/packed_bits.h"

namespace deepserve::kernels {

void dequantize_q2_k(const uint8_t* block, float* out) {
  const float scale_of_scales = half_to_float(load_u16(block + 80));
  const float scale_of_minima = half_to_float(load_u16(block + 82));
  for (int group = 0; group < 8; ++group) {
    const uint8_t* pairs = block + 16 + group / 4 * 32;
    const int shift = group % 4 * 2;
    for (int i = 0; i < 32; ++i) {
      const uint8_t packed = block[group * 2 + i / 16];
      const float scale = scale_of_scales * static_cast<float>(packed & 15);
      const float minimum = scale_of_minima * static_cast<float>(packed >> 4);
      *out++ = scale * static_cast<float>(pairs[i] >> shift & 3) - minimum;
    }
  }
}

void dequantize_q3_k(const uint8_t* block, float* out) {
  const float scale_of_scales = half_to_float(load_u16(block + 108));
  for (int group = 0; group < 8; ++group) {
    const uint8_t* pairs = block + 32 + group / 4 * 32;
    const int shift = group % 4 * 2;
    for (int i = 0; i < 32; ++i) {
      const float scale = scale_of_scales * q3_k_scale(block + 96, group * 2 + i / 16);
      const int q = (pairs[i] >> shift & 3) | (block[i] >> group & 1) << 2;
      *out++ = scale * static_cast<float>(q - 4);
    }
  }
}

void dequantize_q4_k(const uint8_t* block, float* out) {
  const float scale_of_scales = half_to_float(load_u16(block));
  const float scale_of_minima = half_to_float(load_u16(block + 2));
  for (int group = 0; group < 8; ++group) {
    const ScaleAndMinimum packed = six_bit_scale_and_minimum(block + 4, group);
    const float scale = scale_of_scales * packed.scale;
    const float minimum = scale_of_minima * packed.minimum;
    const uint8_t* nibbles = block + 16 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) *out++ = scale * static_cast<float>(nibbles[i] >> shift & 15) - minimum;
  }
}

void dequantize_q5_k(const uint8_t* block, float* out) {
  const float scale_of_scales = half_to_float(load_u16(block));
  const float scale_of_minima = half_to_float(load_u16(block + 2));
  for (int group = 0; group < 8; ++group) {
    const ScaleAndMinimum packed = six_bit_scale_and_minimum(block + 4, group);
    const float scale = scale_of_scales * packed.scale;
    const float minimum = scale_of_minima * packed.minimum;
    const uint8_t* high = block + 16;
    const uint8_t* nibbles = block + 48 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int q = (nibbles[i] >> shift & 15) | (high[i] >> group & 1) << 4;
      *out++ = scale * static_cast<float>(q) - minimum;
    }
  }
}

void dequantize_q6_k(const uint8_t* block, float* out) {
  const float scale_of_scales = half_to_float(load_u16(block + 208));
  for (int group = 0; group < 8; ++group) {  // four groups share 64 low and 32 high bytes
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

void dequantize_iq4_xs(const uint8_t* block, float* out) {
  const float scale_of_scales = half_to_float(load_u16(block));
  for (int group = 0; group < 8; ++group, out += 32) {
    const float scale = scale_of_scales * iq4_xs_scale(block, group);
    const uint8_t* nibbles = block + 8 + group * 16;
    for (int i = 0; i < 16; ++i) {
      out[i] = scale * static_cast<float>(kFourBitLevels[nibbles[i] & 15]);
      out[i + 16] = scale * static_cast<float>(kFourBitLevels[nibbles[i] >> 4]);
    }
  }
}

}  // namespace deepserve::kernels
