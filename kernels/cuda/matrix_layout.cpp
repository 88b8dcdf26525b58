#include "kernels/cuda/matrix_layout.h"

#include <algorithm>
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

void put_scales(const Matrix& from, size_t row, uint8_t* scales) {
  for (size_t block = 0; block * kFp8Columns < from.columns; ++block) {
    const float scale = from.scales.at(row, block * kFp8Columns);
    std::memcpy(scales + block * sizeof scale, &scale, sizeof scale);
  }
}

// Whether each kFp8Columns columns have one scale.
bool has_whole_blocks(const BlockScales& scales) {
  return scales.values == nullptr || scales.columns == 0 ||
         (scales.columns % kFp8Columns == 0 && scales.first_column % kFp8Columns == 0);
}

}  // namespace

MatrixFormat format_for(const Matrix& matrix) {
  switch (matrix.type) {
    case WeightType::kF16:
      return MatrixFormat::kF16;
    case WeightType::kQ8_0:
      return MatrixFormat::kQ8;
    case WeightType::kQ4K:
      return MatrixFormat::kQ4K;
    case WeightType::kF8E4M3:
      return has_whole_blocks(matrix.scales) ? MatrixFormat::kFp8 : MatrixFormat::kBf16;
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

void lay_out_row(const DeviceMatrix& matrix, const Matrix& from, size_t row, uint8_t* data, uint8_t* scales,
                 float* scratch) {
  const uint8_t* stored = from.data + row * from.row_bytes;
  std::memset(data, 0, matrix.row_bytes);
  std::fill_n(scales, matrix.scale_row_bytes, uint8_t{0});  // none: most formats have no scales apart
  const bool as_stored = format_for(from) == matrix.format;
  if (as_stored && matrix.format == MatrixFormat::kQ8) {
    split_q8(stored, matrix.columns, data, scales);
  } else if (as_stored && (matrix.format != MatrixFormat::kBf16 || from.type == WeightType::kBF16)) {
    std::memcpy(data, stored, weight_row_bytes(from.type, matrix.columns));
    if (matrix.format == MatrixFormat::kFp8) put_scales(from, row, scales);
  } else {
    dequantize_matrix_row(from, row, scratch);
    auto* out = reinterpret_cast<uint16_t*>(data);
    for (size_t i = 0; i < matrix.columns; ++i) out[i] = round_to_bf16(scratch[i]);
  }
}

}  // namespace deepserve::kernels::cuda
