// The two kernels of attention, for heads of up to kDim: of few rows, whose warps share out the positions,
// and of many rows, whose warps share the keys and values.
#pragma once

#include "kernels/cuda/attention_result.cuh"

namespace deepserve::kernels::cuda {

// Each item once for every KV head, neighbours of one item.
struct ItemsOfKind {
  uint32_t first;  // of AttentionArguments::items
  uint32_t all;

  __device__ __forceinline__ ItemsOfKind(const AttentionArguments& arguments, AttentionKind kind)
      : first(arguments.begins[static_cast<unsigned>(kind)]),
        all((arguments.begins[static_cast<unsigned>(kind) + 1] - first) * arguments.kv_heads) {}
  __device__ __forceinline__ AttentionItem item(const AttentionArguments& arguments, uint32_t index) const {
    return arguments.items[first + index / arguments.kv_heads];
  }
};

// Calls work(item, kv_head) for what this block of threads does of the items of `kind`. They are sorted, long
// ones first; each round goes over the blocks in the other direction, so that who had the longest of one
// round has the shortest of the next.
template <typename Work>
__device__ __forceinline__ void for_each_item(const AttentionArguments& arguments, AttentionKind kind,
                                              const Work& work) {
  const ItemsOfKind items(arguments, kind);
  const uint32_t blocks = gridDim.x;
  for (uint32_t round = 0; round * blocks < items.all; ++round) {
    const uint32_t index = round * blocks + (round % 2 == 0 ? blockIdx.x : blocks - 1 - blockIdx.x);
    if (index >= items.all) continue;
    const AttentionItem item = items.item(arguments, index);
    work(item, index % arguments.kv_heads);
    __syncthreads();  // shared memory is free again
  }
}

// The segments of an item, and where its last row's context ends.
struct ItemRange {
  uint32_t context;
  uint32_t first;  // segment
  uint32_t last;

  __device__ __forceinline__ ItemRange(const AttentionItem& item, uint32_t group)
      : context(item.position + (item.rows_begin + item.rows - 1) / group + 1),
        first(item.segment == AttentionItem::kAllSegments ? 0 : item.segment),
        last(item.segment == AttentionItem::kAllSegments ? attention_segments(context) - 1 : item.segment) {}
};

// Scores are weighed by powers of 2.
__device__ __forceinline__ float binary_scale(const AttentionArguments& arguments) {
  return rounded_product(arguments.scale, 1.44269504f);
}

template <unsigned kDim>
struct NarrowAttention {
  static constexpr unsigned kThreads = 128;
  static constexpr unsigned kWarps = kThreads / 32;
  static_assert(kWarps == kAttentionParts);
  // 8 warps on a multiprocessor, each with all pieces but one under way: 128 KiB with heads of 128.
  static constexpr unsigned kResident = 2;
  using Stream = KvStream<kDim, 16, kDim <= 64 ? 7 : kDim <= 128 ? 5 : 2, 32>;
  using Queries = WarpQueries<kDim>;
  static constexpr unsigned kTiles = kDim / 8;              // of a part's rows
  static constexpr unsigned kShareTiles = kTiles / kWarps;  // that a warp merges of all parts
  using Segment = MergedRows<kShareTiles, kThreads, true>;
  using All = MergedRows<kShareTiles, kThreads, kDim <= 128>;
  // Shared memory: each warp's ring, where its part's values lie afterwards; the parts' softmax; for large
  // heads queries and each thread's column of all merged segments.
  static constexpr unsigned kSoftmaxAt = kWarps * Stream::kBytes;
  static constexpr unsigned kQueriesAt = kSoftmaxAt + kWarps * 32 * sizeof(float4);
  static constexpr unsigned kAllAt = kQueriesAt + Queries::kSharedBytes;
  static constexpr unsigned kSharedBytes =
      kAllAt + (kDim <= 128 ? 0 : kShareTiles * kThreads * sizeof(float4));
  static_assert(kTiles * 32 * sizeof(float4) <= Stream::kBytes && Stream::kBytes % 16 == 0);

  // The warp's part of a segment, into shared memory.
  __device__ static __forceinline__ void attend_part(const AttentionArguments& arguments,
                                                     const AttentionItem& item, uint32_t kv_head,
                                                     const Queries& queries, const WarpRows& seen,
                                                     uint32_t segment) {
    const unsigned warp = threadIdx.x / 32, lane = lane_index();
    uint8_t* ring = dynamic_shared() + warp * Stream::kBytes;
    const uint32_t length = attention_segment_tokens(segment) / kAttentionParts;
    const uint32_t begin = attention_segment_begin(segment) + warp * length;
    const uint32_t end = begin + length < seen.last_context ? begin + length : seen.last_context;
    AttentionRows<kTiles> rows;
    rows.clear();
    if (begin < end) {
      const float scale = binary_scale(arguments);
      Stream stream(arguments, arguments.tables + item.table, kv_head, begin, end, ring, lane);
#pragma unroll 1
      for (uint32_t step = begin; step < end; step += kAttentionStep) {
        attend_step(stream, queries, seen, step, scale, rows);
      }
    }
    __syncwarp();  // the ring is free
    auto* values = reinterpret_cast<float4*>(ring) + lane;
#pragma unroll
    for (unsigned tile = 0; tile < kTiles; ++tile) {
      const auto& v = rows.values[tile];
      values[tile * 32] = make_float4(v[0], v[1], v[2], v[3]);
    }
    auto* softmax = reinterpret_cast<float4*>(dynamic_shared() + kSoftmaxAt) + threadIdx.x;
    *softmax = make_float4(rows.largest[0], rows.largest[1], rows.weights[0], rows.weights[2]);
  }

  // The warp's share of the columns, of all parts.
  __device__ static __forceinline__ void merge_parts(Segment& share) {
    const unsigned warp = threadIdx.x / 32, lane = lane_index();
    share.clear();
#pragma unroll 1
    for (unsigned part = 0; part < kAttentionParts; ++part) {
      AttentionRows<kShareTiles> rows;
      const auto* values = reinterpret_cast<const float4*>(dynamic_shared() + part * Stream::kBytes) + lane;
#pragma unroll
      for (unsigned tile = 0; tile < kShareTiles; ++tile) {
        const float4 v = values[(warp * kShareTiles + tile) * 32];
        rows.values[tile][0] = v.x;
        rows.values[tile][1] = v.y;
        rows.values[tile][2] = v.z;
        rows.values[tile][3] = v.w;
      }
      const float4 softmax = reinterpret_cast<const float4*>(dynamic_shared() + kSoftmaxAt)[part * 32 + lane];
      rows.largest[0] = softmax.x;
      rows.largest[1] = softmax.y;
      rows.weights[0] = softmax.z;
      rows.weights[2] = softmax.w;
      share.add(rows);
    }
  }
};

// Ahead of the kernel's turn: brings near what its warps read first. Items and tables come from the host.
__device__ __forceinline__ void prefetch_narrow(const AttentionArguments& arguments) {
  const ItemsOfKind items(arguments, AttentionKind::kNarrow);
  if (blockIdx.x >= items.all) return;
  const AttentionItem item = items.item(arguments, blockIdx.x);
  const uint32_t kv_head = blockIdx.x % arguments.kv_heads;
  const ItemRange range(item, arguments.heads / arguments.kv_heads);
  const uint32_t length = attention_segment_tokens(range.first) / kAttentionParts;
  const uint32_t begin = attention_segment_begin(range.first) + threadIdx.x / 32 * length;
  if (begin >= range.context) return;
  const uint32_t block_elements = kAttentionBlock * arguments.head_dim, at = lane_index() * 64;
  if (at >= block_elements) return;
  const uint32_t id = arguments.tables[item.table + begin / kAttentionBlock];
  const uint16_t* keys = arguments.cache + arguments.layer_offset + id * arguments.block_stride +
                         size_t{kv_head} * block_elements;
  prefetch(keys + at);
  prefetch(keys + size_t{arguments.kv_heads} * block_elements + at);
}

template <unsigned kDim>
__global__ void __launch_bounds__(NarrowAttention<kDim>::kThreads, NarrowAttention<kDim>::kResident)
    narrow_attention_kernel(const AttentionArguments arguments) {
  using Narrow = NarrowAttention<kDim>;
  __shared__ uint32_t flag;
  let_next_kernel_begin();
  prefetch_narrow(arguments);
  wait_for_kernels_before();
  for_each_item(arguments, AttentionKind::kNarrow, [&](const AttentionItem& item, uint32_t kv_head) {
    const uint32_t group = arguments.heads / arguments.kv_heads;
    const WarpRows seen(item, group, 0);
    typename Narrow::Queries queries(dynamic_shared() + Narrow::kQueriesAt);
    const unsigned warp = threadIdx.x / 32;
    if (Narrow::Queries::kInRegisters || warp == 0) queries.load(arguments, item, kv_head, seen);
    if (!Narrow::Queries::kInRegisters) __syncthreads();
    const ItemRange range(item, group);
    typename Narrow::Segment segment_rows(nullptr);
    typename Narrow::All all(reinterpret_cast<float4*>(dynamic_shared() + Narrow::kAllAt) + threadIdx.x);
#pragma unroll 1
    for (uint32_t segment = range.first; segment <= range.last; ++segment) {
      Narrow::attend_part(arguments, item, kv_head, queries, seen, segment);
      __syncthreads();
      Narrow::merge_parts(segment_rows);
      __syncthreads();
      AttentionRows<Narrow::kShareTiles> rows;
      segment_rows.get(rows);
      all.add(rows);
    }
    AttentionResult<Narrow::kShareTiles>(arguments, item, kv_head, 0, warp * Narrow::kShareTiles)
        .finish(all, &flag);
  });
}

// kWarps: with 16 rows each.
template <unsigned kDim, unsigned kWarps>
struct TileAttention {
  static constexpr unsigned kThreads = kWarps * 32;
  static constexpr unsigned kResident = kWarps == 8 || kDim > 128 ? 1 : 2;
  // Four warps: smaller pieces, so that three are under way; drafts of few tokens wait for memory.
  using Stream = KvStream<kDim, kWarps == 8 ? 64 : 32, kWarps == 8 ? 3 : 4, kThreads>;
  using Queries = WarpQueries<kDim>;
  static constexpr unsigned kTiles = kDim / 8;
  using Segment = MergedRows < kTiles, kThreads, kDim<128>;
  using All = MergedRows<kTiles, kThreads, false>;
  // Shared memory: the ring; each thread's columns of all merged segments, and for large heads of the segment
  // at hand; each warp's queries.
  static constexpr unsigned kRowsBytes = kTiles * kThreads * sizeof(float4);
  static constexpr unsigned kAllAt = Stream::kBytes;
  static constexpr unsigned kSegmentAt = kAllAt + kRowsBytes;
  static constexpr unsigned kQueriesAt = kSegmentAt + (kDim < 128 ? 0 : kRowsBytes);
  static constexpr unsigned kSharedBytes = kQueriesAt + kWarps * Queries::kSharedBytes;

  // Where the calling thread's column of merged rows is.
  __device__ __forceinline__ static float4* column(unsigned at) {
    return reinterpret_cast<float4*>(dynamic_shared() + at) + threadIdx.x;
  }

  // All parts of a segment.
  __device__ static __forceinline__ void attend_segment(Stream& stream, const Queries& queries,
                                                        const WarpRows& seen, uint32_t segment, uint32_t end,
                                                        float scale, Segment& merged) {
    const uint32_t length = attention_segment_tokens(segment) / kAttentionParts;
    const uint32_t first = attention_segment_begin(segment);
    merged.clear();
#pragma unroll 1
    for (unsigned part = 0; part < kAttentionParts; ++part) {
      const uint32_t begin = first + part * length;
      if (begin >= end) break;
      AttentionRows<kTiles> rows;
      rows.clear();
#pragma unroll 1
      for (uint32_t step = begin; step < begin + length && step < end; step += kAttentionStep) {
        attend_step(stream, queries, seen, step, scale, rows);
      }
      merged.add(rows);
    }
  }
};

template <unsigned kDim, unsigned kWarps>
__global__ void __launch_bounds__(TileAttention<kDim, kWarps>::kThreads,
                                  TileAttention<kDim, kWarps>::kResident)
    tile_attention_kernel(const AttentionArguments arguments) {
  using Tile = TileAttention<kDim, kWarps>;
  __shared__ uint32_t flag;
  constexpr AttentionKind kKind = kWarps == 8 ? AttentionKind::kWide : AttentionKind::kMedium;
  begin_in_turn();
  for_each_item(arguments, kKind, [&](const AttentionItem& item, uint32_t kv_head) {
    const uint32_t group = arguments.heads / arguments.kv_heads;
    const unsigned warp = threadIdx.x / 32;
    const WarpRows seen(item, group, warp * 16);
    typename Tile::Queries queries(dynamic_shared() + Tile::kQueriesAt + warp * Tile::Queries::kSharedBytes);
    queries.load(arguments, item, kv_head, seen);
    const ItemRange range(item, group);
    const uint32_t segments_end = attention_segment_begin(range.last) + attention_segment_tokens(range.last);
    const uint32_t end = segments_end < range.context ? segments_end : range.context;
    typename Tile::Stream stream(arguments, arguments.tables + item.table, kv_head,
                                 attention_segment_begin(range.first), end, dynamic_shared(), threadIdx.x);
    typename Tile::Segment segment_rows(Tile::column(Tile::kSegmentAt));
    typename Tile::All all(Tile::column(Tile::kAllAt));
    const float scale = binary_scale(arguments);
#pragma unroll 1
    for (uint32_t segment = range.first; segment <= range.last; ++segment) {
      Tile::attend_segment(stream, queries, seen, segment, end, scale, segment_rows);
      AttentionRows<Tile::kTiles> rows;
      segment_rows.get(rows);
      all.add(rows);
    }
    AttentionResult<Tile::kTiles>(arguments, item, kv_head, warp * 16, 0).finish(all, &flag);
  });
}

}  // namespace deepserve::kernels::cuda
