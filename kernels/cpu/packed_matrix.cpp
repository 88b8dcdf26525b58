#include "kernels/cpu/packed_matrix.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/packed_bits.h"
#include "kernels/cpu/packed_layout.h"

namespace deepserve::kernels {
namespace {

uint32_t word_at(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// One row's lane of a tile: its 4 bytes in every vector, its 2 in every vector of halves.
struct Lane {
  uint8_t* scales;
  uint8_t* codes;
  size_t row;

  void put_half(size_t vector, const uint8_t* half) const {
    std::memcpy(scales + vector * kHalvesOfGroup + 2 * row, half, 2);
  }
  void put_byte(size_t vector, uint8_t byte) const {  // behind the two vectors of halves of a K type
    scales[2 * kHalvesOfGroup + vector * kRowsOfGroup + row] = byte;
  }
  void put_word(size_t offset, uint32_t word) const { std::memcpy(codes + offset + 4 * row, &word, 4); }
  // The block's columns as 16 bytes of nibbles: columns 0..15 low, 16..31 high.
  void put_nibbles(size_t offset, const uint8_t* bytes) const {
    for (size_t j = 0; j < 4; ++j) put_word(offset + kVectorBytes * j, word_at(bytes + 4 * j));
  }
  // The same of 32 bytes, from the nibble at `shift` of each.
  void put_nibbles_of_32(size_t offset, const uint8_t* bytes, int shift) const {
    for (size_t j = 0; j < 4; ++j) {
      const uint32_t low = word_at(bytes + 4 * j) >> shift & 0x0f0f0f0f;
      const uint32_t high = word_at(bytes + 4 * j + 16) >> shift & 0x0f0f0f0f;
      put_word(offset + kVectorBytes * j, low | high << 4);
    }
  }
};

// Bit i of the four bytes at `bits` belongs to column i; bit 4j + c goes to byte c, bit j.
uint32_t fifth_bits(const uint8_t* bits) {
  const uint32_t word = word_at(bits);
  uint32_t plane = 0;
  for (int j = 0; j < 8; ++j) {
    const uint32_t four = word >> (4 * j) & 15;
    plane |= (four * 0x00204081 & 0x01010101) << j;  // bit c to byte c
  }
  return plane;
}

using PackTile = void (*)(const uint8_t* source, size_t blocks, const Lane& lane);

void pack_q8_0(const uint8_t* source, size_t blocks, const Lane& lane) {
  for (size_t b = 0; b < blocks; ++b, source += 34) {
    lane.put_half(b, source);
    for (size_t j = 0; j < 8; ++j) {
      lane.put_word(512 * b + kVectorBytes * j, word_at(source + 2 + 4 * j) ^ 0x80808080);
    }
  }
}

void pack_q4_0(const uint8_t* source, size_t blocks, const Lane& lane) {
  for (size_t b = 0; b < blocks; ++b, source += 18) {
    lane.put_half(b, source);
    lane.put_nibbles(256 * b, source + 2);
  }
}

void pack_q4_1(const uint8_t* source, size_t blocks, const Lane& lane) {
  for (size_t b = 0; b < blocks; ++b, source += 20) {
    lane.put_half(2 * b, source);
    lane.put_half(2 * b + 1, source + 2);
    lane.put_nibbles(256 * b, source + 4);
  }
}

void pack_q5_0(const uint8_t* source, size_t blocks, const Lane& lane) {
  for (size_t b = 0; b < blocks; ++b, source += 22) {
    lane.put_half(b, source);
    lane.put_nibbles(320 * b, source + 6);
    lane.put_word(320 * b + kNibblePlane, fifth_bits(source + 2));
  }
}

void pack_q5_1(const uint8_t* source, size_t blocks, const Lane& lane) {
  for (size_t b = 0; b < blocks; ++b, source += 24) {
    lane.put_half(2 * b, source);
    lane.put_half(2 * b + 1, source + 2);
    lane.put_nibbles(320 * b, source + 8);
    lane.put_word(320 * b + kNibblePlane, fifth_bits(source + 4));
  }
}

void put_super_scales(const uint8_t* source, const Lane& lane) {
  lane.put_half(0, source);
  lane.put_half(1, source + 2);
  for (int group = 0; group < 8; ++group) {
    const ScaleAndMinimum both = six_bit_scale_and_minimum(source + 4, group);
    lane.put_byte(group, static_cast<uint8_t>(both.scale));
    lane.put_byte(kTileBlocks + group, static_cast<uint8_t>(both.minimum));
  }
}

void pack_q4_k(const uint8_t* source, size_t, const Lane& lane) {
  put_super_scales(source, lane);
  for (size_t b = 0; b < kTileBlocks; ++b) {
    lane.put_nibbles_of_32(256 * b, source + 16 + b / 2 * 32, b % 2 * 4);
  }
}

void pack_q5_k(const uint8_t* source, size_t, const Lane& lane) {
  put_super_scales(source, lane);
  for (size_t b = 0; b < kTileBlocks; ++b) {
    lane.put_nibbles_of_32(320 * b, source + 48 + b / 2 * 32, b % 2 * 4);
    uint32_t plane = 0;
    for (size_t j = 0; j < 8; ++j) plane |= (word_at(source + 16 + 4 * j) >> b & 0x01010101) << j;
    lane.put_word(320 * b + kNibblePlane, plane);
  }
}

void pack_q6_k(const uint8_t* source, size_t, const Lane& lane) {
  lane.put_half(0, source + 208);
  for (size_t i = 0; i < 16; ++i) lane.put_byte(i, source[192 + i]);
  for (size_t b = 0; b < kTileBlocks; ++b) {  // four blocks share 64 low and 32 high bytes
    const size_t half = b / 4, quarter = b % 4;
    lane.put_nibbles_of_32(384 * b, source + half * 64 + quarter % 2 * 32, quarter / 2 * 4);
    for (size_t p = 0; p < 2; ++p) {
      const uint8_t* high = source + 128 + half * 32 + p * 16;
      uint32_t plane = 0;
      for (size_t k = 0; k < 4; ++k) {
        plane |= (word_at(high + 4 * k) >> (2 * quarter) & 0x03030303) << (2 * k);
      }
      lane.put_word(384 * b + kNibblePlane + kVectorBytes * p, plane);
    }
  }
}

// Short pieces of 16 rows are more streams than the CPU reads ahead of by itself: it packs Q8_0 at 6 GB/s
// with this and at 2 without. An address that is not there does no harm.
void prefetch(const uint8_t* bytes, size_t size) {
  constexpr size_t kLineBytes = 64;
  for (size_t i = 0; i < size; i += kLineBytes) __builtin_prefetch(bytes + i);
}

PackTile pack_tile_of(WeightType type) {
  switch (type) {
    case WeightType::kQ8_0:
      return pack_q8_0;
    case WeightType::kQ4_0:
      return pack_q4_0;
    case WeightType::kQ4_1:
      return pack_q4_1;
    case WeightType::kQ5_0:
      return pack_q5_0;
    case WeightType::kQ5_1:
      return pack_q5_1;
    case WeightType::kQ4K:
      return pack_q4_k;
    case WeightType::kQ5K:
      return pack_q5_k;
    case WeightType::kQ6K:
      return pack_q6_k;
    default:
      return nullptr;
  }
}

}  // namespace

bool is_packable(WeightType type) {
  return packed_layout(type).bits != 0;
}

size_t row_groups(size_t rows) {
  return (rows + kRowsOfGroup - 1) / kRowsOfGroup;
}

size_t packed_group_bytes(WeightType type, size_t columns) {
  return group_bytes(packed_layout(type), columns);
}

size_t packed_bytes(WeightType type, size_t rows, size_t columns) {
  return row_groups(rows) * packed_group_bytes(type, columns);
}

void pack_row_groups(const Matrix& from, size_t group_begin, size_t group_end, uint8_t* packed) {
  const PackedLayout layout = packed_layout(from.type);
  const PackTile pack_tile = pack_tile_of(from.type);
  const size_t source_tile_bytes = weight_row_bytes(from.type, kTileBlocks * kInputBlock);
  const size_t blocks = input_blocks(from.columns);
  uint8_t* tile = packed + group_begin * group_bytes(layout, from.columns);
  for (size_t group = group_begin; group < group_end; ++group) {
    const size_t row_begin = group * kRowsOfGroup;
    const size_t rows = std::min(kRowsOfGroup, from.rows - row_begin);
    for (size_t block = 0; block < blocks; block += kTileBlocks) {
      const size_t count = std::min(kTileBlocks, blocks - block);
      if (rows < kRowsOfGroup) std::memset(tile, 0, tile_bytes(layout, count));
      const uint8_t* source =
          from.data + row_begin * from.row_bytes + block / kTileBlocks * source_tile_bytes;
      const bool is_last = block + count == blocks;
      const uint8_t* next =
          is_last ? from.data + (row_begin + kRowsOfGroup) * from.row_bytes : source + source_tile_bytes;
      for (size_t row = 0; row < rows; ++row, source += from.row_bytes, next += from.row_bytes) {
        prefetch(next, source_tile_bytes);
        pack_tile(source, count, {tile, tile + tile_scale_bytes(layout.scales, count), row});
      }
      tile += tile_bytes(layout, count);
    }
  }
}

}  // namespace deepserve::kernels
