#include "kernels/cpu/dequantize.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "kernels/cpu/float16.h"
#include "kernels/cpu/float8.h"
#include "kernels/cpu/packed_bits.h"

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

void dequantize_q5_1(const uint8_t* block, float* out) {
  const float scale = half_to_float(load_u16(block));
  const float minimum = half_to_float(load_u16(block + 2));
  uint32_t high_bits;
  std::memcpy(&high_bits, block + 4, sizeof high_bits);
  for (int i = 0; i < 16; ++i) {
    const uint8_t nibbles = block[8 + i];
    const int low = (nibbles & 15) | static_cast<int>(high_bits >> i & 1) << 4;
    const int high = (nibbles >> 4) | static_cast<int>(high_bits >> (i + 16) & 1) << 4;
    out[i] = scale * static_cast<float>(low) + minimum;
    out[i + 16] = scale * static_cast<float>(high) + minimum;
  }
}

void dequantize_q8_0(const uint8_t* block, float* out) {
  const float scale = half_to_float(load_u16(block));
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

void dequantize_iq4_nl(const uint8_t* block, float* out) {
  const float scale = half_to_float(load_u16(block));
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * static_cast<float>(kFourBitLevels[block[2 + i] & 15]);
    out[i + 16] = scale * static_cast<float>(kFourBitLevels[block[2 + i] >> 4]);
  }
}

namespace {

using BlockFunction = void (*)(const uint8_t* block, float* out);

// By WeightType; the types of single elements have no blocks.
constexpr BlockFunction kBlockFunctions[] = {
    nullptr,         nullptr,         nullptr,           dequantize_q4_0, dequantize_q4_1, dequantize_q5_0,
    dequantize_q5_1, dequantize_q8_0, dequantize_iq4_nl, dequantize_q2_k, dequantize_q3_k, dequantize_q4_k,
    dequantize_q5_k, dequantize_q6_k, dequantize_iq4_xs, nullptr,
};
static_assert(std::size(kBlockFunctions) == static_cast<size_t>(WeightType::kCount));

}  // namespace

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
    case WeightType::kF8E4M3:
      for (size_t i = 0; i < elements; ++i) out[i] = e4m3_to_float(row[i]);
      return;
    default:
      break;
  }
  const BlockFunction dequantize_block = kBlockFunctions[static_cast<size_t>(type)];
  const WeightFormat& format = weight_format(type);
  for (size_t i = 0; i < elements; i += format.block_elements, row += format.block_bytes) {
    dequantize_block(row, out + i);
  }
}

void dequantize_matrix_row(const Matrix& matrix, size_t row, float* out) {
  dequantize_row(matrix.type, matrix.data + row * matrix.row_bytes, matrix.columns, out);
  if (matrix.scales.values == nullptr) return;
  for (size_t begin = 0; begin < matrix.columns;) {
    const size_t end = begin + std::min(matrix.scales.run(begin), matrix.columns - begin);
    const float scale = matrix.scales.at(row, begin);
    for (; begin < end; ++begin) out[begin] *= scale;
  }
}

}  // namespace deepserve::kernels
