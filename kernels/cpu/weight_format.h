// How a row of weights lies in memory: GGUF's tensor types, as far as the kernels compute with them.
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
  kCount
};

struct WeightFormat {
  std::string_view name;    // as GGUF spells it, "Q4_K"
  uint32_t block_elements;  // elements per block
  uint32_t block_bytes;
};

const WeightFormat& weight_format(WeightType type);

// Bytes of a row of `elements`, which is a multiple of the format's block_elements.
size_t weight_row_bytes(WeightType type, size_t elements);

// A matrix of weights [rows, columns], row after row. Borrows its bytes, which need no alignment.
struct Matrix {
  const uint8_t* data = nullptr;
  WeightType type = WeightType::kF32;
  size_t rows = 0;
  size_t columns = 0;
  size_t row_bytes = 0;
};

}  // namespace deepserve::kernels
