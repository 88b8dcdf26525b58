// How a matrix of weights lies in a GPU's memory.
//
// Rows are padded with zeros to kColumnsUnit columns and begin on multiples of 16 bytes, so that a warp reads
// whole sectors. Bytes of formats that a file packs otherwise are put in order when they are uploaded
// (runner/backend/cuda/weight_upload.h).
#pragma once

#include <cstddef>
#include <cstdint>

namespace deepserve::kernels::cuda {

enum class MatrixFormat : uint8_t {
  kBf16,
  kF16,
  kQ8,   // int8 codes [columns]; scales: binary16 for each 32 columns. weight = code * scale
  kQ4K,  // GGUF's Q4_K blocks of 256 columns as they are, 144 bytes each
  kFp8,  // E4M3 codes [columns]; scales: float32 for each kFp8Columns columns. weight = code * scale
  kCount
};

inline constexpr size_t kColumnsUnit = 64;
inline constexpr size_t kQ4KColumns = 256;
inline constexpr size_t kQ4KBytes = 144;
inline constexpr size_t kFp8Columns = 128;

// Rows that a block of threads computes. A matrix of gate and up has kGateRows of gate, then the same rows of
// up, and so on; where gate ends in the middle, rows of zeros.
inline constexpr uint32_t kTileRows = 16;
inline constexpr uint32_t kGateRows = kTileRows / 2;

struct DeviceMatrix {
  const uint8_t* data = nullptr;    // device memory, rows `row_bytes` apart
  const uint8_t* scales = nullptr;  // kQ8, kFp8: rows `scale_row_bytes` apart, a multiple of 16
  size_t row_bytes = 0;
  size_t scale_row_bytes = 0;
  uint32_t rows = 0;
  uint32_t columns = 0;         // of the model
  uint32_t padded_columns = 0;  // a multiple of kColumnsUnit, of kQ4KColumns for kQ4K
  MatrixFormat format = MatrixFormat::kBf16;
};

// Columns with padding, bytes of a row of them, and of its scales.
constexpr uint32_t padded_columns(MatrixFormat format, uint32_t columns) {
  const uint32_t unit = format == MatrixFormat::kQ4K ? kQ4KColumns : kColumnsUnit;
  return (columns + unit - 1) / unit * unit;
}
constexpr size_t matrix_row_bytes(MatrixFormat format, uint32_t padded) {
  switch (format) {
    case MatrixFormat::kQ8:
    case MatrixFormat::kFp8:
      return padded;
    case MatrixFormat::kQ4K:
      return padded / kQ4KColumns * kQ4KBytes;
    default:
      return size_t{padded} * 2;
  }
}
constexpr size_t matrix_scale_row_bytes(MatrixFormat format, uint32_t padded) {
  size_t bytes = 0;
  if (format == MatrixFormat::kQ8) bytes = padded / 32 * 2;
  if (format == MatrixFormat::kFp8) bytes = (padded + kFp8Columns - 1) / kFp8Columns * 4;
  return (bytes + 15) / 16 * 16;
}

}  // namespace deepserve::kernels::cuda
