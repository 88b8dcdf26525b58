// How a warp multiplies 16 rows of weights of each format with the inputs of some tokens, 64 columns at a
// time. What this file does decides the bits of every product: the kernels that include it differ in how
// weights and inputs come to the threads, never in what is computed of them.
// Products that a compiler may fuse with a sum, or not, are written as what they shall be.
#pragma once

#include "kernels/cuda/weight_load.cuh"

namespace deepserve::kernels::cuda {

inline constexpr unsigned kStepColumns = 64;  // of a tile
inline constexpr unsigned kHalves = kStepColumns / 32;

// A warp's part of 16 rows and kStepColumns columns. The sum over the columns may be taken in any order as
// long as weights and inputs agree: a thread holds of each 32 columns the eight from 8 * (lane % 4) on, which
// the tensor core takes for columns {2, 3, 10, 11} and so on of its own.
template <MatrixFormat kFormat>
struct WeightTile;

// Where a warp's rows lie: lane / 4 of a tile, and eight below it.
struct RowPair {
  const uint8_t* data[2];
  const uint8_t* scales[2];
};

// Products of weights that are bf16 pairs a with the inputs of one token tile, or of all.
__device__ inline void multiply(float (&sums)[4], const uint32_t (&a)[2][4], const uint4& inputs) {
  mma_bf16(sums, a[0], {inputs.x, inputs.y});
  mma_bf16(sums, a[1], {inputs.z, inputs.w});
}
template <unsigned kTiles>
__device__ void multiply(float (&sums)[kTiles][4], const uint32_t (&a)[2][4], const uint4 (&inputs)[kTiles]) {
#pragma unroll
  for (unsigned n = 0; n < kTiles; ++n) multiply(sums[n], a, inputs[n]);
}

// Eight codes of each of a pair of rows as bf16 pairs; to_bf16: of four.
template <typename ToBf16>
__device__ void widen_codes(uint32_t (&a)[2][4], const uint2& upper, const uint2& lower,
                            const ToBf16& to_bf16) {
#pragma unroll
  for (unsigned i = 0; i < 2; ++i) {
    const uint2 u = to_bf16(i == 0 ? upper.x : upper.y), l = to_bf16(i == 0 ? lower.x : lower.y);
    a[i][0] = u.x;
    a[i][1] = l.x;
    a[i][2] = u.y;
    a[i][3] = l.y;
  }
}

template <>
struct WeightTile<MatrixFormat::kBf16> {
  uint4 words[2][kHalves];  // [row of the pair]

  __device__ void load(const RowPair& rows, uint32_t step, unsigned pair) {
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      for (unsigned half = 0; half < kHalves; ++half) {
        words[r][half] = load_once(rows.data[r] + (step * kStepColumns + half * 32 + pair * 8) * 2);
      }
    }
  }
  template <unsigned kTiles>
  __device__ void multiply_half(unsigned half, const uint4 (&inputs)[kTiles],
                                float (&sums)[kTiles][4]) const {
    const uint4 &upper = words[0][half], &lower = words[1][half];
    const uint32_t a[2][4] = {{upper.x, lower.x, upper.y, lower.y}, {upper.z, lower.z, upper.w, lower.w}};
    multiply(sums, a, inputs);
  }
};

// binary16 is the sum of two bf16: its first 8 bits and the rest, exactly.
template <>
struct WeightTile<MatrixFormat::kF16> : WeightTile<MatrixFormat::kBf16> {
  __device__ static void split(uint32_t f16_pair, uint32_t& high, uint32_t& low) {
    const float a = f16_to_float(static_cast<uint16_t>(f16_pair));
    const float b = f16_to_float(static_cast<uint16_t>(f16_pair >> 16));
    high = pack_bf16(a, b);
    low = pack_bf16(a - bf16_to_float(static_cast<uint16_t>(high)),
                    b - bf16_to_float(static_cast<uint16_t>(high >> 16)));
  }
  template <unsigned kTiles>
  __device__ void multiply_half(unsigned half, const uint4 (&inputs)[kTiles],
                                float (&sums)[kTiles][4]) const {
    const uint4 &upper = words[0][half], &lower = words[1][half];
    const uint32_t pairs[2][4] = {{upper.x, lower.x, upper.y, lower.y}, {upper.z, lower.z, upper.w, lower.w}};
    uint32_t high[2][4], low[2][4];
#pragma unroll
    for (unsigned i = 0; i < 8; ++i) split(pairs[i / 4][i % 4], high[i / 4][i % 4], low[i / 4][i % 4]);
    multiply(sums, high, inputs);
    multiply(sums, low, inputs);
  }
};

template <>
struct WeightTile<MatrixFormat::kQ8> {
  uint2 codes[2][kHalves];
  uint16_t scales[2][kHalves];

  __device__ void load(const RowPair& rows, uint32_t step, unsigned pair) {
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      for (unsigned half = 0; half < kHalves; ++half) {
        const uint32_t block = step * kHalves + half;
        codes[r][half] = *reinterpret_cast<const uint2*>(rows.data[r] + block * 32 + pair * 8);
        scales[r][half] = reinterpret_cast<const uint16_t*>(rows.scales[r])[block];
      }
    }
  }
  template <unsigned kTiles>
  __device__ void multiply_half(unsigned half, const uint4 (&inputs)[kTiles],
                                float (&sums)[kTiles][4]) const {
    uint32_t a[2][4];
    widen_codes(a, codes[0][half], codes[1][half], bytes_to_bf16);
    const float upper = f16_to_float(scales[0][half]), lower = f16_to_float(scales[1][half]);
#pragma unroll
    for (unsigned n = 0; n < kTiles; ++n) {
      float products[4] = {};
      multiply(products, a, inputs[n]);
      for (unsigned i = 0; i < 4; ++i) {
        sums[n][i] = multiply_add(products[i], i < 2 ? upper : lower, sums[n][i]);
      }
    }
  }
};

template <>
struct WeightTile<MatrixFormat::kFp8> {
  uint2 codes[2][kHalves];
  float scales[2];  // both halves lie in one block

  __device__ void load(const RowPair& rows, uint32_t step, unsigned pair) {
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      for (unsigned half = 0; half < kHalves; ++half) {
        codes[r][half] =
            *reinterpret_cast<const uint2*>(rows.data[r] + step * kStepColumns + half * 32 + pair * 8);
      }
      scales[r] = reinterpret_cast<const float*>(rows.scales[r])[step * kStepColumns / kFp8Columns];
    }
  }
  template <unsigned kTiles>
  __device__ void multiply_half(unsigned half, const uint4 (&inputs)[kTiles],
                                float (&sums)[kTiles][4]) const {
    uint32_t a[2][4];
    widen_codes(a, codes[0][half], codes[1][half], e4m3_to_bf16);
#pragma unroll
    for (unsigned n = 0; n < kTiles; ++n) {
      float products[4] = {};
      multiply(products, a, inputs[n]);
      for (unsigned i = 0; i < 4; ++i) sums[n][i] = multiply_add(products[i], scales[i / 2], sums[n][i]);
    }
  }
};

template <>
struct WeightTile<MatrixFormat::kQ4K> {
  uint2 codes[2];    // of both halves: the lower and the upper four bits
  uint4 headers[2];  // of the row's block of 256
  uint32_t sub;      // the first half's part of the block, of 8

  __device__ void load(const RowPair& rows, uint32_t step, unsigned pair) {
    const uint32_t block = step / 4;
    sub = step % 4 * 2;
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      const uint8_t* at = rows.data[r] + block * kQ4KBytes;
      headers[r] = *reinterpret_cast<const uint4*>(at);
      codes[r] = *reinterpret_cast<const uint2*>(at + 16 + step % 4 * 32 + pair * 8);
    }
  }
  template <unsigned kTiles>
  __device__ void multiply_half(unsigned half, const uint4 (&inputs)[kTiles],
                                float (&sums)[kTiles][4]) const {
    const unsigned shift = 4 * half;
    const auto nibbles = [&](uint32_t word) { return bytes_to_bf16(word >> shift & 0x0f0f0f0f); };
    uint32_t a[2][4];
    widen_codes(a, codes[0], codes[1], nibbles);
    constexpr uint32_t kOnes = 0x3f803f80;
    const uint32_t ones[2][4] = {{kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes, kOnes, kOnes}};
    float scales[2], minimums[2];
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) q4k_scale(headers[r], sub + half, scales[r], minimums[r]);
#pragma unroll
    for (unsigned n = 0; n < kTiles; ++n) {
      float products[4] = {}, input_sums[4] = {};
      multiply(products, a, inputs[n]);
      multiply(input_sums, ones, inputs[n]);
      for (unsigned i = 0; i < 4; ++i) {
        sums[n][i] = multiply_add(-input_sums[i], minimums[i / 2], sums[n][i]);
        sums[n][i] = multiply_add(products[i], scales[i / 2], sums[n][i]);
      }
    }
  }
};

}  // namespace deepserve::kernels::cuda
