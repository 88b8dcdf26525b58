// Where everything lies inside a packed matrix. Everything is static, for the reason that avx2_math.h gives.
//
// A group of 16 rows is a run of tiles, a tile 256 columns of the group (the last one fewer, a multiple of
// 32), a tile n = 1..8 blocks of 32 columns. Tiles begin on 64 bytes:
//
//   scales   kHalf              n x [16] halves: scale
//            kHalfAndMinimum    n x [16] halves: scale, [16] halves: minimum
//            kSuperAndMinimum   [16] halves: d, [16] halves: dmin, 8 x [16] bytes: scale, 8 x [16]: minimum
//            kSuperOf16         [16] halves: d, 32 bytes unused, 8 x 2 x [16] signed bytes: scale of a half
//            padded to 64 bytes
//   codes    n blocks. Vector j (0..7) of a block is 64 bytes, 16 rows x columns 4j..4j+3, as bytes:
//            8 bits  vectors 0..7
//            4 bits  byte i of vector j and of vector j + 4 as low and high nibble, j = 0..3
//            5 bits  the 4-bit part, then 64 bytes: bit j of byte i is bit 4 of byte i of vector j
//            6 bits  the 4-bit part, then 2 x 64 bytes: bits 2k, 2k+1 of byte i of the p-th are bits 4, 5 of
//                    byte i of vector 4p + k
//
// What a code q means: kHalf d * (q - 2^(bits-1)); kHalfAndMinimum d * q + m; kSuperAndMinimum
// (d * scale) * q - (dmin * minimum); kSuperOf16 (d * scale) * (q - 32).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/packed_matrix.h"

namespace deepserve::kernels {

static constexpr size_t kTileBlocks = 8;    // of 32 columns
static constexpr size_t kVectorBytes = 64;  // 16 rows x 4 columns, a byte each
static constexpr size_t kNibblePlane = 4 * kVectorBytes;
static constexpr size_t kHalvesOfGroup = 2 * kRowsOfGroup;  // bytes

enum class ScaleKind : uint8_t { kHalf, kHalfAndMinimum, kSuperAndMinimum, kSuperOf16 };

struct PackedLayout {
  uint8_t bits;  // of a code; 0: the format is not packed
  ScaleKind scales;
};

static constexpr size_t block_code_bytes(int bits) {
  return bits == 8 ? 2 * kNibblePlane : kNibblePlane + static_cast<size_t>(bits - 4) * kVectorBytes;
}

// Of a tile of `blocks`.
static constexpr size_t tile_scale_bytes(ScaleKind scales, size_t blocks) {
  switch (scales) {
    case ScaleKind::kHalf:
      return (blocks + 1) / 2 * 2 * kHalvesOfGroup;
    case ScaleKind::kHalfAndMinimum:
      return blocks * 2 * kHalvesOfGroup;
    default:
      return 2 * kHalvesOfGroup + 2 * kTileBlocks * kRowsOfGroup;
  }
}

static constexpr size_t tile_bytes(PackedLayout layout, size_t blocks) {
  return tile_scale_bytes(layout.scales, blocks) + blocks * block_code_bytes(layout.bits);
}

static constexpr size_t group_bytes(PackedLayout layout, size_t columns) {
  const size_t blocks = columns / 32, rest = blocks % kTileBlocks;
  return blocks / kTileBlocks * tile_bytes(layout, kTileBlocks) + (rest == 0 ? 0 : tile_bytes(layout, rest));
}

// Blocks [first, last) of the tile of `count` blocks that begins with block `tile` of a row.
struct TileRun {
  size_t tile, count, first, last;
};

// From `block` on up to `end`, as far as its tile goes, in rows of `blocks`.
static inline TileRun tile_run(size_t block, size_t end, size_t blocks) {
  const size_t first = block % kTileBlocks, tile = block - first;
  const size_t count = blocks - tile < kTileBlocks ? blocks - tile : kTileBlocks;
  return {tile, count, first, end - tile < count ? end - tile : count};
}

static constexpr PackedLayout packed_layout(WeightType type) {
  switch (type) {
    case WeightType::kQ8_0:
      return {8, ScaleKind::kHalf};
    case WeightType::kQ4_0:
      return {4, ScaleKind::kHalf};
    case WeightType::kQ5_0:
      return {5, ScaleKind::kHalf};
    case WeightType::kQ4_1:
      return {4, ScaleKind::kHalfAndMinimum};
    case WeightType::kQ5_1:
      return {5, ScaleKind::kHalfAndMinimum};
    case WeightType::kQ4K:
      return {4, ScaleKind::kSuperAndMinimum};
    case WeightType::kQ5K:
      return {5, ScaleKind::kSuperAndMinimum};
    case WeightType::kQ6K:
      return {6, ScaleKind::kSuperOf16};
    default:
      return {0, ScaleKind::kHalf};
  }
}

// Calls `call` with the bits and scales of a packed format as constants; of another it calls nothing.
template <typename Call>
static inline void with_packed_layout(WeightType type, const Call& call) {
  switch (type) {
    case WeightType::kQ8_0:
      return call.template operator()<8, ScaleKind::kHalf>();
    case WeightType::kQ4_0:
      return call.template operator()<4, ScaleKind::kHalf>();
    case WeightType::kQ5_0:
      return call.template operator()<5, ScaleKind::kHalf>();
    case WeightType::kQ4_1:
      return call.template operator()<4, ScaleKind::kHalfAndMinimum>();
    case WeightType::kQ5_1:
      return call.template operator()<5, ScaleKind::kHalfAndMinimum>();
    case WeightType::kQ4K:
      return call.template operator()<4, ScaleKind::kSuperAndMinimum>();
    case WeightType::kQ5K:
      return call.template operator()<5, ScaleKind::kSuperAndMinimum>();
    case WeightType::kQ6K:
      return call.template operator()<6, ScaleKind::kSuperOf16>();
    default:
      return;
  }
}

}  // namespace deepserve::kernels
