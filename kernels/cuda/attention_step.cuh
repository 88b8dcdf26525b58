// What a warp does with 16 rows and one step of keys and values: the same instructions in every kernel of
// attention, so that all have the same bits.
#pragma once

#include "kernels/cuda/attention_rows.cuh"
#include "kernels/cuda/attention_stream.cuh"

namespace deepserve::kernels::cuda {

// Which rows of an item a warp has, and what they see.
struct WarpRows {
  uint32_t rows[2];            // of the entry: this thread's two
  bool valid[2];               // whether they are the item's
  uint32_t contexts[2];        // positions that they see; 0 where not valid
  uint32_t first_context = 0;  // of the warp's rows: the smallest, and the largest; 0 without rows
  uint32_t last_context = 0;

  // From row `begin` of the item on.
  __device__ __forceinline__ WarpRows(const AttentionItem& item, uint32_t group, uint32_t begin) {
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      const uint32_t at = begin + lane_index() / 4 + 8 * half;
      rows[half] = item.rows_begin + at;
      valid[half] = at < item.rows;
      contexts[half] = valid[half] ? item.position + rows[half] / group + 1 : 0;
    }
    if (begin >= item.rows) return;
    const uint32_t end = begin + 16 < item.rows ? begin + 16 : item.rows;
    first_context = item.position + (item.rows_begin + begin) / group + 1;
    last_context = item.position + (item.rows_begin + end - 1) / group + 1;
  }
};

// 16 rows' queries as operands of the products: in registers, or where those are short, in shared memory.
template <unsigned kDim>
class WarpQueries {
 public:
  static constexpr bool kInRegisters = kDim <= 128;
  static constexpr unsigned kSteps = kDim / 16;
  static constexpr unsigned kSharedBytes = kInRegisters ? 0 : kSteps * 32 * sizeof(uint4);

  // shared: kSharedBytes of the warp's own, or of several warps that load the same.
  __device__ __forceinline__ explicit WarpQueries(uint8_t* shared)
      : shared_(reinterpret_cast<uint4*>(shared) + lane_index()) {}

  __device__ __forceinline__ void load(const AttentionArguments& arguments, const AttentionItem& item,
                                       uint32_t kv_head, const WarpRows& rows) {
    const uint32_t group = arguments.heads / arguments.kv_heads;
    const uint16_t* from[2];
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      const size_t token = item.first_row + rows.rows[half] / group;
      const uint32_t head = kv_head * group + rows.rows[half] % group;
      from[half] = arguments.queries + (token * arguments.heads + head) * arguments.head_dim;
    }
#pragma unroll
    for (unsigned step = 0; step < kSteps; ++step) {
      uint32_t operand[4];
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned column = 16 * step + 8 * (i / 2) + 2 * (lane_index() % 4);
        const bool is_there = rows.valid[i % 2] && column < arguments.head_dim;
        operand[i] = is_there ? *reinterpret_cast<const uint32_t*>(from[i % 2] + column) : 0;
      }
      if constexpr (kInRegisters) {
#pragma unroll
        for (unsigned i = 0; i < 4; ++i) registers_[step][i] = operand[i];
      } else {
        shared_[step * 32] = make_uint4(operand[0], operand[1], operand[2], operand[3]);
      }
    }
  }

  __device__ __forceinline__ void get(unsigned step, uint32_t (&operand)[4]) const {
    if constexpr (kInRegisters) {
#pragma unroll
      for (unsigned i = 0; i < 4; ++i) operand[i] = registers_[step][i];
    } else {
      const uint4 v = shared_[step * 32];
      operand[0] = v.x;
      operand[1] = v.y;
      operand[2] = v.z;
      operand[3] = v.w;
    }
  }

 private:
  uint32_t registers_[kInRegisters ? kSteps : 1][4];
  uint4* shared_;
};

// scores[i] += the rows' queries times the keys of positions 8 i .. 8 i + 7 of a piece.
template <unsigned kDim, unsigned kPositions, unsigned kRowBytes>
__device__ __forceinline__ void multiply_keys(const WarpQueries<kDim>& queries, const uint8_t* keys,
                                              float (*scores)[4]) {
  const unsigned lane = lane_index();
  const uint8_t* from = keys + (lane / 16 * 8 + lane % 8) * kRowBytes + lane / 8 % 2 * 16;
#pragma unroll
  for (unsigned step = 0; step < kDim / 16; ++step) {
    uint32_t query[4];
    queries.get(step, query);
#pragma unroll
    for (unsigned tile = 0; tile < kPositions / 8; tile += 2) {
      uint32_t key[4];
      load_matrices(key, from + tile * 8 * kRowBytes + step * 32);
      mma_f16(scores[tile], query, {key[0], key[1]});
      mma_f16(scores[tile + 1], query, {key[2], key[3]});
    }
  }
}

// Adds the values of a piece, times `weights` ([positions / 16], operands), and the weights themselves.
template <unsigned kDim, unsigned kPositions, unsigned kRowBytes>
__device__ __forceinline__ void multiply_values(const uint32_t (*weights)[4], const uint8_t* values,
                                                AttentionRows<kDim / 8>& rows) {
  constexpr uint32_t kOnes = 0x3c003c00;  // 1, 1
  const unsigned lane = lane_index();
  const uint8_t* from = values + lane % 16 * kRowBytes + lane / 16 * 16;
#pragma unroll
  for (unsigned step = 0; step < kPositions / 16; ++step) {
    const uint32_t(&weight)[4] = weights[step];
#pragma unroll
    for (unsigned tile = 0; tile < kDim / 8; tile += 2) {
      uint32_t value[4];
      load_matrices_transposed(value, from + step * 16 * kRowBytes + tile * 16);
      mma_f16(rows.values[tile], weight, {value[0], value[1]});
      mma_f16(rows.values[tile + 1], weight, {value[2], value[3]});
    }
    mma_f16(rows.weights, weight, {kOnes, kOnes});
  }
}

// Scores become weights, relative to the largest so far; what was summed before is scaled to that. `begin`:
// position of the step's first score.
template <unsigned kTiles>
__device__ __forceinline__ void advance_softmax(float (&scores)[kAttentionStep / 8][4], const WarpRows& seen,
                                                uint32_t begin, float scale, AttentionRows<kTiles>& rows,
                                                uint32_t (&weights)[kAttentionStep / 16][4]) {
  constexpr unsigned kScoreTiles = kAttentionStep / 8;
  const bool is_cut = begin + kAttentionStep > seen.first_context;
  float shrink[2];
#pragma unroll
  for (unsigned half = 0; half < 2; ++half) {
    float largest = -INFINITY;
#pragma unroll
    for (unsigned i = 0; i < 2 * kScoreTiles; ++i) {
      float& score = scores[i / 2][2 * half + i % 2];
      score = rounded_product(score, scale);
      const uint32_t position = begin + 8 * (i / 2) + 2 * (lane_index() % 4) + i % 2;
      if (is_cut && position >= seen.contexts[half]) score = -INFINITY;
      largest = fmaxf(largest, score);
    }
    largest = fmaxf(largest, shuffle_xor(largest, 1));
    largest = fmaxf(largest, shuffle_xor(largest, 2));
    largest = fmaxf(largest, rows.largest[half]);
    const float reference = largest == -INFINITY ? 0.0f : largest;
    shrink[half] = exp2_approximate(rows.largest[half] - reference);
    rows.largest[half] = largest;
#pragma unroll
    for (unsigned tile = 0; tile < kScoreTiles; ++tile) {
      const float low = exp2_approximate(scores[tile][2 * half] - reference);
      const float high = exp2_approximate(scores[tile][2 * half + 1] - reference);
      weights[tile / 2][tile % 2 * 2 + half] = pack_f16(low, high);
    }
  }
  // As a rule the largest scores came early: times 1 changes no bit and is left out.
  if (!warp_any(shrink[0] != 1 || shrink[1] != 1)) return;
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    rows.weights[i] *= shrink[i / 2];
#pragma unroll
    for (unsigned tile = 0; tile < kTiles; ++tile) rows.values[tile][i] *= shrink[i / 2];
  }
}

// One step at position `begin` into `rows`. Called by all who share the stream.
template <unsigned kDim, typename Stream>
__device__ __forceinline__ void attend_step(Stream& stream, const WarpQueries<kDim>& queries,
                                            const WarpRows& seen, uint32_t begin, float scale,
                                            AttentionRows<kDim / 8>& rows) {
  constexpr unsigned kPositions = Stream::kPiecePositions;
  float scores[kAttentionStep / 8][4] = {};
#pragma unroll
  for (unsigned piece = 0; piece < Stream::kPieces; ++piece) {
    const uint8_t* keys = stream.next();
    if (begin + piece * kPositions < seen.last_context) {
      multiply_keys<kDim, kPositions, Stream::kRowBytes>(queries, keys, scores + piece * kPositions / 8);
    }
  }
  uint32_t weights[kAttentionStep / 16][4];
  if (begin < seen.last_context) advance_softmax(scores, seen, begin, scale, rows, weights);
#pragma unroll
  for (unsigned piece = 0; piece < Stream::kPieces; ++piece) {
    const uint8_t* values = stream.next();
    if (begin + piece * kPositions < seen.last_context) {
      multiply_values<kDim, kPositions, Stream::kRowBytes>(weights + piece * kPositions / 16, values, rows);
    }
  }
}

}  // namespace deepserve::kernels::cuda
