// kWideRows rows of weights of one step's columns in shared memory, for each format: how they come there, in
// pieces of 16 bytes, and how a thread takes its part of a tile out again. Places are such that neither has
// two threads of a turn at the same bank.
#pragma once

#include "kernels/cuda/weight_tile.cuh"

namespace deepserve::kernels::cuda {

inline constexpr unsigned kWideRows = 128;

// kRowPieces: of a row. source(): where in the matrix one is; place(): where in the stage. fetch(): `half` of
// the tile whose upper row is `row`, into the tile's half taken_as(half): a half at a time, registers for one
// are enough.
template <MatrixFormat kFormat>
struct WeightStage;

// Two bytes a weight: [half][row][32 columns].
struct WordStage {
  static constexpr unsigned kRowPieces = 8;

  __device__ static unsigned at(unsigned half, unsigned row) {
    return (half * kWideRows + (row ^ half)) * 64;
  }
  __device__ static const uint8_t* source(const DeviceMatrix& matrix, uint32_t row, uint32_t step,
                                          unsigned piece) {
    return matrix.data + row * matrix.row_bytes + step * (kStepColumns * 2) + piece * 16;
  }
  __device__ static unsigned place(unsigned row, unsigned piece) {
    return at(piece / 4, row) + piece % 4 * 16;
  }
  __device__ static unsigned taken_as(unsigned) { return 0; }
  __device__ static void fetch(WeightTile<MatrixFormat::kBf16>& tile, const uint8_t* stage, unsigned row,
                               unsigned pair, uint32_t, unsigned half) {
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      tile.words[r][0] = *reinterpret_cast<const uint4*>(stage + at(half, row + 8 * r) + pair * 16);
    }
  }
};
template <>
struct WeightStage<MatrixFormat::kBf16> : WordStage {};
template <>
struct WeightStage<MatrixFormat::kF16> : WordStage {};

// A byte a weight: codes [half][row][32 columns], then of each row 16 bytes of scales, which are those of
// kScaleSteps steps.
template <unsigned kScaleSteps>
struct ByteStage {
  static constexpr unsigned kRowPieces = 5;

  __device__ static unsigned at(unsigned half, unsigned row) {
    return (half * kWideRows + (row ^ 2 * half)) * 32;
  }
  __device__ static unsigned scales_at(unsigned row) { return kWideRows * kStepColumns + row * 16; }
  __device__ static const uint8_t* source(const DeviceMatrix& matrix, uint32_t row, uint32_t step,
                                          unsigned piece) {
    if (piece == 4) return matrix.scales + row * matrix.scale_row_bytes + step / kScaleSteps * 16;
    return matrix.data + row * matrix.row_bytes + step * kStepColumns + piece * 16;
  }
  __device__ static unsigned place(unsigned row, unsigned piece) {
    return piece == 4 ? scales_at(row) : at(piece / 2, row) + piece % 2 * 16;
  }
  __device__ static unsigned taken_as(unsigned) { return 0; }
  __device__ static uint2 codes(const uint8_t* stage, unsigned row, unsigned pair, unsigned half) {
    return *reinterpret_cast<const uint2*>(stage + at(half, row) + pair * 8);
  }
};

template <>
struct WeightStage<MatrixFormat::kQ8> : ByteStage<4> {
  __device__ static void fetch(WeightTile<MatrixFormat::kQ8>& tile, const uint8_t* stage, unsigned row,
                               unsigned pair, uint32_t step, unsigned half) {
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      const auto* scales = reinterpret_cast<const uint16_t*>(stage + scales_at(row + 8 * r));
      tile.codes[r][0] = codes(stage, row + 8 * r, pair, half);
      tile.scales[r][0] = scales[step % 4 * kHalves + half];
    }
  }
};

inline constexpr unsigned kFp8StepsOfBlock = kFp8Columns / kStepColumns;
template <>
struct WeightStage<MatrixFormat::kFp8> : ByteStage<4 * kFp8StepsOfBlock> {
  __device__ static void fetch(WeightTile<MatrixFormat::kFp8>& tile, const uint8_t* stage, unsigned row,
                               unsigned pair, uint32_t step, unsigned half) {
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      const auto* scales = reinterpret_cast<const float*>(stage + scales_at(row + 8 * r));
      tile.codes[r][0] = codes(stage, row + 8 * r, pair, half);
      tile.scales[r] = scales[step / kFp8StepsOfBlock % 4];
    }
  }
};

// Codes [row][32 bytes], both halves in each, then the row's headers of its block of 256 columns.
template <>
struct WeightStage<MatrixFormat::kQ4K> {
  static constexpr unsigned kRowPieces = 3;
  static constexpr unsigned kHeadersAt = kWideRows * 32;

  __device__ static const uint8_t* source(const DeviceMatrix& matrix, uint32_t row, uint32_t step,
                                          unsigned piece) {
    const uint8_t* block = matrix.data + row * matrix.row_bytes + step / 4 * kQ4KBytes;
    return piece == 2 ? block : block + 16 + step % 4 * 32 + piece * 16;
  }
  __device__ static unsigned place(unsigned row, unsigned piece) {
    return piece == 2 ? kHeadersAt + row * 16 : row * 32 + piece * 16;
  }
  __device__ static unsigned taken_as(unsigned half) { return half; }
  __device__ static void fetch(WeightTile<MatrixFormat::kQ4K>& tile, const uint8_t* stage, unsigned row,
                               unsigned pair, uint32_t step, unsigned) {
    tile.sub = step % 4 * 2;
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      tile.headers[r] = *reinterpret_cast<const uint4*>(stage + kHeadersAt + (row + 8 * r) * 16);
      tile.codes[r] = *reinterpret_cast<const uint2*>(stage + (row + 8 * r) * 32 + pair * 8);
    }
  }
};

}  // namespace deepserve::kernels::cuda
