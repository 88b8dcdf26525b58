// Eight neighbouring weights of a row, as the tensor cores want them: bf16 pairs that hold the weight itself
// (kBf16, kF16) or its code (kQ8, kQ4K, kFp8), which bf16 holds exactly, to be scaled after the product.
#pragma once

#include "kernels/cuda/matrix.h"
#include "kernels/cuda/ptx.cuh"

namespace deepserve::kernels::cuda {

// Four codes of one byte each, signed, as two bf16 pairs.
__device__ inline uint2 bytes_to_bf16(uint32_t bytes) {
  const auto code = [&](unsigned i) { return static_cast<float>(static_cast<int8_t>(bytes >> (8 * i))); };
  return {pack_bf16(code(0), code(1)), pack_bf16(code(2), code(3))};
}

// Four codes of E4M3 as two bf16 pairs: their bits as those of bf16, whose exponent has another bias, times
// 2^120. Of the two codes that are no numbers, +-480.
__device__ inline uint2 e4m3_to_bf16(uint32_t codes) {
  constexpr uint32_t kSigns = 0x80008000, kMagnitudes = 0x07f007f0, kTwoTo120 = 0x7b807b80;
  const auto pair = [](uint32_t upper_bytes) {
    const uint32_t bits = (upper_bytes & kSigns) | (upper_bytes >> 4 & kMagnitudes);
    return multiply_bf16(bits, kTwoTo120);
  };
  return {pair(take_bytes(codes, 0, 0x1404)), pair(take_bytes(codes, 0, 0x3424))};
}

// Scale and minimum of part `j` (of 8) of a Q4_K block, whose first 16 bytes are `header`: two binary16, then
// twelve bytes in which ggml packs 6 bits of each. weight = scale * code - minimum.
__device__ inline void q4k_scale(const uint4& header, unsigned j, float& scale, float& minimum) {
  const unsigned shift = 8 * (j % 4);
  const uint32_t first = header.y >> shift, second = header.z >> shift, third = header.w >> shift;
  uint32_t six = first & 63, six_minimum = second & 63;
  if (j >= 4) {
    six = (third & 15) | (first >> 6 & 3) << 4;
    six_minimum = (third >> 4 & 15) | (second >> 6 & 3) << 4;
  }
  scale = f16_to_float(static_cast<uint16_t>(header.x)) * static_cast<float>(six);
  minimum = f16_to_float(static_cast<uint16_t>(header.x >> 16)) * static_cast<float>(six_minimum);
}

// Weight `column` of `row` as a float32, for kernels that look few of them up.
__device__ inline float weight_at(const DeviceMatrix& matrix, uint32_t row, uint32_t column) {
  const uint8_t* data = matrix.data + row * matrix.row_bytes;
  switch (matrix.format) {
    case MatrixFormat::kBf16:
      return bf16_to_float(reinterpret_cast<const uint16_t*>(data)[column]);
    case MatrixFormat::kF16:
      return f16_to_float(reinterpret_cast<const uint16_t*>(data)[column]);
    case MatrixFormat::kQ8: {
      const auto* scales = reinterpret_cast<const uint16_t*>(matrix.scales + row * matrix.scale_row_bytes);
      return f16_to_float(scales[column / 32]) * static_cast<float>(static_cast<int8_t>(data[column]));
    }
    case MatrixFormat::kFp8: {
      const auto* scales = reinterpret_cast<const float*>(matrix.scales + row * matrix.scale_row_bytes);
      return bf16_to_float(static_cast<uint16_t>(e4m3_to_bf16(data[column]).x)) *
             scales[column / kFp8Columns];
    }
    default: {
      const uint8_t* block = data + column / kQ4KColumns * kQ4KBytes;
      const unsigned inside = column % kQ4KColumns, part = inside / 32;
      float scale, minimum;
      q4k_scale(*reinterpret_cast<const uint4*>(block), part, scale, minimum);
      const uint8_t byte = block[16 + part / 2 * 32 + inside % 32];
      return scale * static_cast<float>(part % 2 == 0 ? byte & 15 : byte >> 4) - minimum;
    }
  }
}

}  // namespace deepserve::kernels::cuda
