// The softmax of 16 rows over some positions, as the threads of a warp hold it, and how two of them are
// merged. With group = lane / 4 and pair = lane % 4, a thread has rows group and group + 8, and of each tile
// of eight columns the columns 2 pair + {0, 1}: [tile][{row group: 2}, {row group + 8: 2}], as mma_f16 leaves
// them.
#pragma once

#include <cmath>

#include "kernels/cuda/ptx.cuh"

namespace deepserve::kernels::cuda {

// Scores are times log2(e), so that weights are powers of 2. A row without positions has largest -infinity
// and zeros.
template <unsigned kTiles>
struct AttentionRows {
  float values[kTiles][4];  // sums of weight * value
  float weights[4];         // sums of weights: [0] and [2], of the two rows (mma_f16 with a column of ones)
  float largest[2];         // scores; weights are relative to them

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (unsigned tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) values[tile][i] = 0;
    }
    weights[0] = weights[1] = weights[2] = weights[3] = 0;
    largest[0] = largest[1] = -INFINITY;
  }
};

// By what the values of two softmaxes of a row are multiplied when they become one.
struct MergeFactors {
  float before;
  float added;
};

// Makes one of (largest, weight) and what is added to it. Nothing changes where there is nothing to add, not
// even if that is a row of zeros that another plan leaves out.
__device__ __forceinline__ MergeFactors merge_softmax(float& largest, float& weight, float added_largest,
                                                      float added_weight) {
  if (added_largest == -INFINITY) return {1, 0};
  const float both = fmaxf(largest, added_largest);
  const MergeFactors factors{exp2_approximate(largest - both), exp2_approximate(added_largest - both)};
  weight = fmaf(added_weight, factors.added, weight * factors.before);
  largest = both;
  return factors;
}

// Rows that others are merged into, in registers or in shared memory: there each thread has its own column of
// kThreads float4.
template <unsigned kTiles, unsigned kThreads, bool kInRegisters>
class MergedRows {
 public:
  // shared: nullptr for registers; else where tile 0 of this thread is.
  __device__ __forceinline__ explicit MergedRows(float4* shared) : shared_(shared) {}

  __device__ __forceinline__ void clear() { empty_ = true; }

  __device__ __forceinline__ void add(const AttentionRows<kTiles>& rows) {
    if (empty_)
      assign(rows);
    else
      merge(rows);
    empty_ = false;
  }

  __device__ __forceinline__ void add(const MergedRows<kTiles, kThreads, true>& rows) requires(
      !kInRegisters) {
    AttentionRows<kTiles> copy;
    rows.get(copy);
    add(copy);
  }

  __device__ __forceinline__ void get(AttentionRows<kTiles>& rows) const {
#pragma unroll
    for (unsigned tile = 0; tile < kTiles; ++tile) {
      const float4 v = tile_at(tile);
      rows.values[tile][0] = v.x;
      rows.values[tile][1] = v.y;
      rows.values[tile][2] = v.z;
      rows.values[tile][3] = v.w;
    }
    rows.weights[0] = weights_[0];
    rows.weights[2] = weights_[1];
    rows.largest[0] = largest_[0];
    rows.largest[1] = largest_[1];
  }

  __device__ __forceinline__ float4 tile_at(unsigned tile) const {
    if constexpr (kInRegisters)
      return registers_[tile];
    else
      return shared_[tile * kThreads];
  }
  __device__ __forceinline__ float weight(unsigned half) const {
    return weights_[half];
  }
  __device__ __forceinline__ float largest(unsigned half) const {
    return largest_[half];
  }

 private:
  __device__ __forceinline__ void set_tile(unsigned tile, const float4& values) {
    if constexpr (kInRegisters)
      registers_[tile] = values;
    else
      shared_[tile * kThreads] = values;
  }

  __device__ __forceinline__ void assign(const AttentionRows<kTiles>& rows) {
#pragma unroll
    for (unsigned tile = 0; tile < kTiles; ++tile) {
      const auto& v = rows.values[tile];
      set_tile(tile, make_float4(v[0], v[1], v[2], v[3]));
    }
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      weights_[half] = rows.weights[2 * half];
      largest_[half] = rows.largest[half];
    }
  }

  // Each product that is added to is rounded by itself, the other one is not: written out, so that every
  // kernel's code has the same roundings.
  __device__ __forceinline__ void merge(const AttentionRows<kTiles>& rows) {
    MergeFactors factors[2];
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      factors[half] =
          merge_softmax(largest_[half], weights_[half], rows.largest[half], rows.weights[2 * half]);
    }
    const auto [b0, a0] = factors[0];
    const auto [b1, a1] = factors[1];
#pragma unroll
    for (unsigned tile = 0; tile < kTiles; ++tile) {
      const float4 old = tile_at(tile);
      const auto& v = rows.values[tile];
      set_tile(tile, make_float4(fmaf(v[0], a0, old.x * b0), fmaf(v[1], a0, old.y * b0),
                                 fmaf(v[2], a1, old.z * b1), fmaf(v[3], a1, old.w * b1)));
    }
  }

  float4 registers_[kInRegisters ? kTiles : 1];
  float4* shared_;
  float weights_[2];
  float largest_[2];
  bool empty_ = true;
};

}  // namespace deepserve::kernels::cuda
