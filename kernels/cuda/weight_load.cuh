// Eight neighbouring weights of a row, as the tensor cores want them: bf16 pairs that hold the weight itself
// (kBf16, kF16) or its integer code (kQ8, kQ4K), which bf16 holds exactly, to be scaled after the product.
#pragma once

#include "kernels/cuda/matrix.h"
#include "kernels/cuda/ptx.cuh"

namespace deepserve::kernels::cuda {

// Four codes of one byte each, signed, as two bf16 pairs.
__device__ inline uint2 bytes_to_bf16(uint32_t bytes) {
  const auto code = [&](unsigned i) { return static_cast<float>(static_cast<int8_t>(bytes >> (8 * i))); };
  return {pack_bf16(code(0), code(1)), pack_bf16(code(2), code(3))};
}

// The 6-bit scale and minimum of sub-block `j` (of 8) of a Q4_K block's 12 bytes `packed`, as ggml packs
// them.
__device__ inline void q4k_scale(const uint8_t* packed, unsigned j, float& scale, float& minimum) {
  if (j < 4) {
    scale = packed[j] & 63;
    minimum = packed[j + 4] & 63;
  } else {
    scale = (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4;
    minimum = (packed[j + 4] >> 4) | (packed[j] >> 6) << 4;
  }
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
    default: {
      const uint8_t* block = data + column / kQ4KColumns * 144;
      const unsigned inside = column % kQ4KColumns, sub = inside / 32;
      const auto* header = reinterpret_cast<const uint16_t*>(block);
      float scale, minimum;
      q4k_scale(block + 4, sub, scale, minimum);
      const uint8_t byte = block[16 + sub / 2 * 32 + inside % 32];
      const unsigned code = sub % 2 == 0 ? byte & 15 : byte >> 4;
      return f16_to_float(header[0]) * scale * static_cast<float>(code) - f16_to_float(header[1]) * minimum;
    }
  }
}

}  // namespace deepserve::kernels::cuda
