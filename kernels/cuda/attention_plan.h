// How a step's attention is cut into items of work for paged_attention: on the host, once a step, for all of
// the model's layers.
//
// A token attends to the positions of its context by segments: [0, 512), [512, 1024), ... at fixed absolute
// positions, longer ones behind 8k and 32k. A segment has four parts of the same length, a part steps of 64
// positions. What comes of a part is one online softmax over its steps; parts are merged from left to right
// into their segment, segments from left to right into the result. No plan changes that order, so none
// changes a bit (DESIGN 8): whether blocks of threads take a token's segments one after the other or
// each takes one, whether the four warps of a block take a part each or one warp takes all of them.
//
// Why these lengths: a part of 128 positions is 64 KiB of keys and values with heads of 128, which one warp
// with 16 KiB under way reads in about 3 us, so that a short context does not wait for one warp. 32 sequences
// of 8k with 4 KV heads are 2,048 segments, eight for each block of threads that an H200 runs at once (two on
// each of 132 multiprocessors). One of 128k has 88 segments, 352 with 4 KV heads, still more than these 264,
// and who merges them reads 88 partial results, not 256. Partial results are written for 512 positions at the
// least: 1.4 % of what is read.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace deepserve::kernels::cuda {

inline constexpr uint32_t kAttentionParts = 4;  // of a segment

constexpr __host__ __device__ uint32_t attention_segment_begin(uint32_t segment) {
  if (segment < 16) return segment * 512;
  if (segment < 40) return 8'192 + (segment - 16) * 1'024;
  return 32'768 + (segment - 40) * 2'048;
}
constexpr __host__ __device__ uint32_t attention_segment_tokens(uint32_t segment) {
  return segment < 16 ? 512 : segment < 40 ? 1'024 : 2'048;
}
// How many segments a context of so many tokens has.
constexpr __host__ __device__ uint32_t attention_segments(uint32_t context) {
  if (context <= 8'192) return (context + 511) / 512;
  if (context <= 32'768) return 16 + (context - 8'192 + 1'023) / 1'024;
  return 40 + (context - 32'768 + 2'047) / 2'048;
}

// What one sequence has in the step: token i sees positions 0 .. position + i.
struct AttentionEntry {
  uint32_t first_row = 0;  // of its tokens in the batch
  uint32_t tokens = 0;     // at least 1
  uint32_t position = 0;   // of the first of them
  uint32_t table = 0;      // where its blocks' ids begin in the block tables
};

// Rows that share keys and values, `group` = heads / kv_heads of them for each token, go through the tensor
// cores together. Row i of an entry is head i % group of those of a KV head, of token i / group.
enum class AttentionKind : uint8_t {
  kNarrow,  // up to 16 rows: four warps take a part of a segment each. Decoding
  kMedium,  // up to 64 rows: four warps with 16 rows each. Several drafted tokens, the ends of prompts
  kWide,    // up to 128 rows: eight warps. Prefill
  kCount
};
inline constexpr size_t kAttentionKinds = static_cast<size_t>(AttentionKind::kCount);
inline constexpr std::array<uint32_t, kAttentionKinds> kAttentionRows{16, 64, 128};

// What a block of threads does at a time, for one KV head (each item stands for one block's work for every
// KV head).
struct alignas(16) AttentionItem {
  static constexpr uint32_t kAllSegments = 0xffffffff;

  uint32_t first_row;    // of the entry
  uint32_t position;     // of the entry
  uint32_t table;        // of the entry
  uint32_t rows_begin;   // of its rows
  uint32_t rows;         // so many
  uint32_t segment;      // the one, or kAllSegments
  uint32_t partial_row;  // of one segment: where the partial results of this item's rows begin
  uint32_t tile;         // of one segment: who counts the segments of these rows that are done
};

struct AttentionLimits {
  uint32_t group = 1;  // heads / kv_heads
  uint32_t kv_heads = 1;
  uint32_t multiprocessors = 1;
  bool wide = true;             // there is a kernel for kWide (attention_has_wide)
  uint32_t workspace_rows = 0;  // room for partial results (AttentionWorkspaceSize)
  uint32_t workspace_tiles = 0;
  uint32_t items_max = 0;  // at least attention_items_min
};

// The items of a step, in the order in which they are best begun: long ones first. Used again and again, it
// allocates nothing.
struct AttentionPlan {
  std::vector<AttentionItem> items;  // of kNarrow, then of kMedium, then of kWide
  // Where the items of each kind begin, and where all of them end.
  std::array<uint32_t, kAttentionKinds + 1> begins{};

  uint32_t count(AttentionKind kind) const {
    const auto k = static_cast<size_t>(kind);
    return begins[k + 1] - begins[k];
  }
};

// With room for this many items a batch of so many tokens can always be planned.
constexpr uint32_t attention_items_min(uint32_t batch_tokens, uint32_t group) {
  return batch_tokens * ((group + 15) / 16);
}

// Rows that have several segments are split, one item for each, where that makes work for more
// multiprocessors: decoding always, prefill where there are fewer tiles than multiprocessors. What the
// workspace or items_max have no room for is not split: slower, the same results.
void plan_attention(std::span<const AttentionEntry> entries, const AttentionLimits& limits,
                    AttentionPlan& plan);

}  // namespace deepserve::kernels::cuda
