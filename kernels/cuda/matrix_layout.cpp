#include "kernels/cuda/matrix_layout.h"

#include <bit>
#include <cstring>

#include "kernels/cpu/dequantize.h"

namespace deepserve::kernels::cuda {
namespace {

constexpr size_t kQ8Columns = 32;
constexpr size_t kQ8BlockBytes = 34;  // GGUF's Q8_0: a binary16 scale, then the codes

// Rounded to nearest even; weights are finite.
uint16_t round_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void split_q8(const uint8_t* row, uint32_t columns, uint8_t* data, uint8_t* scales) {
  for (size_t block = 0; block < columns / kQ8Columns; ++block) {
    const uint8_t* from = row + block * kQ8BlockBytes;
    std::memcpy(scales + 2 * block, from, 2);
    std::memcpy(data + block * kQ8Columns, from + 2, kQ8Columns);
  }
}

}  // namespace

MatrixFormat format_for(WeightType type) {
  switch (type) {
    case WeightType::kF16:
      return MatrixFormat::kF16;
    case WeightType::kQ8_0:
      return MatrixFormat::kQ8;
    case WeightType::kQ4K:
      return MatrixFormat::kQ4K;
    default:
      return MatrixFormat::kBf16;
  }
}

DeviceMatrix shape_of(MatrixFormat format, uint32_t rows, uint32_t columns) {
  DeviceMatrix matrix;
  matrix.format = format;
  matrix.rows = rows;
  matrix.columns = columns;
  matrix.padded_columns = padded_columns(format, columns);
  matrix.row_bytes = matrix_row_bytes(format, matrix.padded_columns);
  matrix.scale_row_bytes = matrix_scale_row_bytes(format, matrix.padded_columns);
  return matrix;
}

void lay_out_row(const DeviceMatrix& matrix, WeightType type, const uint8_t* row, uint8_t* data,
                 uint8_t* scales, float* scratch) {
  std::memset(data, 0, matrix.row_bytes);
  const bool as_stored = format_for(type) == matrix.format;
  if (as_stored && matrix.format == MatrixFormat::kQ8) {
    std::memset(scales, 0, matrix.scale_row_bytes);
    split_q8(row, matrix.columns, data, scales);
  } else if (as_stored && (matrix.format != MatrixFormat::kBf16 || type == WeightType::kBF16)) {
    std::memcpy(data, row, weight_row_bytes(type, matrix.columns));
  } else {
    dequantize_row(type, row, matrix.columns, scratch);
    auto* out = reinterpret_cast<uint16_t*>(data);
    for (size_t i = 0; i < matrix.columns; ++i) out[i] = round_to_bf16(scratch[i]);
  }
}

}  // namespace deepserve::kernels::cuda
