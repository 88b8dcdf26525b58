// How a row of weights lies in memory: GGUF's tensor types, as far as the kernels compute with them, and the
// 8-bit floats of safetensors.
//
// A row is a whole number of blocks; blocks follow each other without padding; all numbers are little-endian.
// Source: the GGUF specification and the block definitions of ggml.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace deepserve::kernels {

enum class WeightType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kIQ4NL,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kIQ4XS,
  kF8E4M3,  // a byte each (float8.h); what scales them lies apart
  kCount
};

struct WeightFormat {
  std::string_view name;    // as GGUF or safetensors spells it, "Q4_K"
  uint32_t block_elements;  // elements per block
  uint32_t block_bytes;
};

const WeightFormat& weight_format(WeightType type);

// Bytes of a row of `elements`, which is a multiple of the format's block_elements.
size_t weight_row_bytes(WeightType type, size_t elements);

// What the weights of a matrix are to be multiplied by: a number for each block of rows x columns of them,
// the last blocks of a row or a column being smaller. Borrows its numbers.
struct BlockScales {
  const float* values = nullptr;  // rows of `stride` numbers; nullptr: all are 1
  size_t stride = 0;
  size_t rows = 0;     // of a block; 0: all that there are
  size_t columns = 0;  // the same
  // Of this matrix in the one that the blocks are cut from.
  size_t first_row = 0;
  size_t first_column = 0;

  float at(size_t row, size_t column) const {
    if (values == nullptr) return 1;
    const size_t below = rows == 0 ? 0 : (first_row + row) / rows;
    return values[below * stride + (columns == 0 ? 0 : (first_column + column) / columns)];
  }
  // Columns from `column` on, at least one, that have its scale.
  size_t run(size_t column) const {
    return values == nullptr || columns == 0 ? SIZE_MAX : columns - (first_column + column) % columns;
  }
};

// A matrix of weights [rows, columns], row after row. Borrows its bytes, which need no alignment.
struct Matrix {
  const uint8_t* data = nullptr;
  WeightType type = WeightType::kF32;
  size_t rows = 0;
  size_t columns = 0;
  size_t row_bytes = 0;
  BlockScales scales = {};  // of kF8E4M3 alone
};

}  // namespace deepserve::kernels
