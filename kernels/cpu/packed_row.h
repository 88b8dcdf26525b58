// One row of a packed matrix, a weight at a time, read as packed_layout.h says. Only for code that is built
// for every CPU: its functions are shared by all files that include it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/float16.h"
#include "kernels/cpu/packed_layout.h"

namespace deepserve::kernels {

// Row `row` of 16 of the group at `group`, which must outlive the object.
class PackedRow {
 public:
  PackedRow(WeightType type, const uint8_t* group, size_t row, size_t columns)
      : layout_(packed_layout(type)), group_(group), row_(row), blocks_(input_blocks(columns)) {}

  // Block `block` as numbers of which 0 is 0, or, for formats with minima, the minimum.
  void codes(size_t block, int out[kInputBlock]) const {
    const uint8_t* bytes = tile(block) + tile_scale_bytes(layout_.scales, tile_blocks(block)) +
                           block % kTileBlocks * block_code_bytes(layout_.bits);
    const bool has_minimum =
        layout_.scales == ScaleKind::kHalfAndMinimum || layout_.scales == ScaleKind::kSuperAndMinimum;
    const int offset = has_minimum ? 0 : 1 << (layout_.bits - 1);
    for (size_t column = 0; column < kInputBlock; ++column) {
      out[column] = code(bytes, column / 4, 4 * row_ + column % 4) - offset;
    }
  }
  // Of half 0 or 1 of a block.
  float scale(size_t block, size_t half) const {
    const size_t b = block % kTileBlocks;
    switch (layout_.scales) {
      case ScaleKind::kHalf:
        return half_at(block, b);
      case ScaleKind::kHalfAndMinimum:
        return half_at(block, 2 * b);
      case ScaleKind::kSuperAndMinimum:
        return half_at(block, 0) * static_cast<float>(byte_at(block, b));
      case ScaleKind::kSuperOf16:
        return half_at(block, 0) * static_cast<float>(static_cast<int8_t>(byte_at(block, 2 * b + half)));
    }
    return 0;
  }
  float minimum(size_t block) const {
    const size_t b = block % kTileBlocks;
    if (layout_.scales == ScaleKind::kHalfAndMinimum) return half_at(block, 2 * b + 1);
    return -(half_at(block, 1) * static_cast<float>(byte_at(block, kTileBlocks + b)));
  }

 private:
  size_t tile_blocks(size_t block) const {
    return std::min(kTileBlocks, blocks_ - block / kTileBlocks * kTileBlocks);
  }
  const uint8_t* tile(size_t block) const {
    return group_ + block / kTileBlocks * tile_bytes(layout_, kTileBlocks);
  }
  float half_at(size_t block, size_t vector) const {
    return half_to_float(load_u16(tile(block) + vector * kHalvesOfGroup + 2 * row_));
  }
  uint8_t byte_at(size_t block, size_t vector) const {
    return tile(block)[2 * kHalvesOfGroup + vector * kRowsOfGroup + row_];
  }
  int code(const uint8_t* block, size_t vector, size_t lane) const {
    if (layout_.bits == 8) return block[vector * kVectorBytes + lane];
    const int nibble = block[vector % 4 * kVectorBytes + lane] >> (vector / 4 * 4) & 15;
    const uint8_t* plane = block + kNibblePlane;
    if (layout_.bits == 5) return nibble | (plane[lane] >> vector & 1) << 4;
    if (layout_.bits == 6) {
      return nibble | (plane[vector / 4 * kVectorBytes + lane] >> (vector % 4 * 2) & 3) << 4;
    }
    return nibble;
  }

  PackedLayout layout_;
  const uint8_t* group_;
  size_t row_;
  size_t blocks_;
};

}  // namespace deepserve::kernels
