// What becomes of merged rows: the result, or a partial one that whoever is last merges with the others.
#pragma once

#include "kernels/cuda/attention_step.cuh"

namespace deepserve::kernels::cuda {

// The parts of the workspace.
struct AttentionWorkspace {
  uint32_t* arrivals;  // [tiles, kv_heads] segments that are done
  float2* softmax;     // [rows] largest score, sum of weights
  float* values;       // [rows, head_dim]

  __host__ __device__ __forceinline__ static size_t arrivals_bytes(const AttentionWorkspaceSize& size) {
    return (size_t{size.tiles} * size.kv_heads * sizeof(uint32_t) + 15) / 16 * 16;
  }
  __host__ __device__ __forceinline__ static size_t softmax_bytes(const AttentionWorkspaceSize& size) {
    return (size_t{size.rows} * sizeof(float2) + 15) / 16 * 16;
  }
  __device__ __forceinline__ explicit AttentionWorkspace(const AttentionArguments& arguments) {
    auto* memory = static_cast<uint8_t*>(arguments.workspace);
    arrivals = reinterpret_cast<uint32_t*>(memory);
    memory += arrivals_bytes(arguments.workspace_size);
    softmax = reinterpret_cast<float2*>(memory);
    values = reinterpret_cast<float*>(memory + softmax_bytes(arguments.workspace_size));
  }
};

// An item's rows of one KV head, as one thread sees them: `begin`: the first of its warp's 16 rows;
// first_tile: of the columns, of the kTiles tiles that its warp has.
template <unsigned kTiles>
class AttentionResult {
 public:
  __device__ __forceinline__ AttentionResult(const AttentionArguments& arguments, const AttentionItem& item,
                                             uint32_t kv_head, uint32_t begin, unsigned first_tile)
      : arguments_(arguments),
        item_(item),
        kv_head_(kv_head),
        begin_(begin),
        first_tile_(first_tile),
        seen_(item, arguments.heads / arguments.kv_heads, begin) {}

  // The one write of `rows` if the item is all there is of them; else of their segment, and by the block that
  // is the last to come here the result of all segments, for which it uses `rows`. All threads of the block
  // call it; it leaves shared memory other than flag alone.
  template <typename Rows>
  __device__ __forceinline__ void finish(Rows& rows, uint32_t* flag) const {
    if (item_.segment == AttentionItem::kAllSegments) {
      write(rows);
      return;
    }
    const AttentionWorkspace workspace(arguments_);
    write_segment(workspace, rows);
    const uint32_t last_row = item_.rows_begin + item_.rows - 1;
    const uint32_t context = item_.position + last_row / (arguments_.heads / arguments_.kv_heads) + 1;
    const uint32_t segments = attention_segments(context);
    __syncthreads();
    if (threadIdx.x == 0) {
      uint32_t* arrivals = workspace.arrivals + item_.tile * arguments_.kv_heads + kv_head_;
      const bool is_last = add_and_see(arrivals, 1) + 1 == segments;
      if (is_last) *arrivals = 0;
      *flag = is_last;
    }
    __syncthreads();
    if (*flag == 0) return;
    rows.clear();
#pragma unroll(kTiles <= 4 ? 4 : 1)
    for (uint32_t segment = 0; segment < segments; ++segment) {
      AttentionRows<kTiles> part;
      read_segment(workspace, segment, part);
      rows.add(part);
    }
    write(rows);
  }

 private:
  __device__ __forceinline__ size_t partial_row(uint32_t segment, unsigned half) const {
    const size_t tile_begin =
        item_.partial_row + (size_t{segment} * arguments_.kv_heads + kv_head_) * item_.rows;
    return tile_begin + begin_ + lane_index() / 4 + 8 * half;
  }
  __device__ __forceinline__ unsigned column(unsigned tile) const {
    return (first_tile_ + tile) * 8 + 2 * (lane_index() % 4);
  }

  template <typename Rows>
  __device__ __forceinline__ void write_segment(const AttentionWorkspace& workspace, const Rows& rows) const {
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      if (!seen_.valid[half]) continue;
      const size_t row = partial_row(item_.segment, half);
      if (first_tile_ == 0 && lane_index() % 4 == 0) {
        workspace.softmax[row] = make_float2(rows.largest(half), rows.weight(half));
      }
#pragma unroll
      for (unsigned tile = 0; tile < kTiles; ++tile) {
        if (column(tile) >= arguments_.head_dim) continue;
        const float4 v = rows.tile_at(tile);
        *reinterpret_cast<float2*>(workspace.values + row * arguments_.head_dim + column(tile)) =
            half == 0 ? make_float2(v.x, v.y) : make_float2(v.z, v.w);
      }
    }
  }

  __device__ __forceinline__ void read_segment(const AttentionWorkspace& workspace, uint32_t segment,
                                               AttentionRows<kTiles>& part) const {
    part.clear();
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      if (!seen_.valid[half]) continue;
      const size_t row = partial_row(segment, half);
      const float2 softmax = workspace.softmax[row];
      part.largest[half] = softmax.x;
      part.weights[2 * half] = softmax.y;
#pragma unroll
      for (unsigned tile = 0; tile < kTiles; ++tile) {
        if (column(tile) >= arguments_.head_dim) continue;
        const float2 v =
            *reinterpret_cast<const float2*>(workspace.values + row * arguments_.head_dim + column(tile));
        part.values[tile][2 * half] = v.x;
        part.values[tile][2 * half + 1] = v.y;
      }
    }
  }

  template <typename Rows>
  __device__ __forceinline__ void write(const Rows& rows) const {
    const uint32_t group = arguments_.heads / arguments_.kv_heads;
    const uint32_t width = arguments_.heads * arguments_.head_dim;
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
      if (!seen_.valid[half]) continue;
      const size_t token = item_.first_row + seen_.rows[half] / group;
      const uint32_t head = kv_head_ * group + seen_.rows[half] % group;
      uint16_t* out = arguments_.out + token * arguments_.out_stride;
      const float factor = 1.0f / rows.weight(half);
#pragma unroll
      for (unsigned tile = 0; tile < kTiles; ++tile) {
        if (column(tile) >= arguments_.head_dim) continue;
        const float4 v = rows.tile_at(tile);
        const float low = half == 0 ? v.x : v.z, high = half == 0 ? v.y : v.w;
        // + 0: a zero's sign may depend on what else its tile saw.
        *reinterpret_cast<uint32_t*>(out + head * arguments_.head_dim + column(tile)) =
            pack_bf16(low * factor + 0.0f, high * factor + 0.0f);
      }
      if (head != arguments_.heads - 1 || first_tile_ != 0) continue;
      for (uint32_t at = width + 2 * (lane_index() % 4); at < arguments_.out_stride; at += 8) {
        *reinterpret_cast<uint32_t*>(out + at) = 0;
      }
    }
  }

  const AttentionArguments& arguments_;
  const AttentionItem& item_;
  uint32_t kv_head_;
  uint32_t begin_;
  unsigned first_tile_;
  WarpRows seen_;
};

}  // namespace deepserve::kernels::cuda
