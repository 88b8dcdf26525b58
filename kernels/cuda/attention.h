// Flash attention over the paged KV cache, on the tensor cores: prefill, decoding and drafts in one batch.
// After Dao, FlashAttention-2 (arXiv:2307.08691), and, for splitting the KV axis, Flash-Decoding.
//
// Scores and sums are float32, queries, keys, values and the softmax's weights binary16. In which order a
// token's positions are gone through is fixed by their numbers alone (attention_plan.h), and rows of the
// tensor cores' products do not know of each other: a token's result depends on its query, its position and
// the keys and values behind it, and has the same bits whatever else is in the batch and however its sequence
// came to it. Keys and values must be finite; slots of the cache beyond the last position that a tile of rows
// sees are not read.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention_plan.h"

namespace deepserve::kernels::cuda {

// Room for the partial results of rows whose segments are done by several blocks of threads: a row for each
// segment, KV head and row of an item that is split (32 sequences of 8k with 28 heads: 32 * 16 * 28 rows of
// 520 bytes, 7.5 MB).
struct AttentionWorkspaceSize {
  uint32_t rows = 0;
  uint32_t tiles = 0;  // items' tiles that can be split
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
};
size_t attention_workspace_bytes(const AttentionWorkspaceSize& size);
// So many of its first bytes must be zero before the first use; each use leaves them so.
size_t attention_workspace_zeros(const AttentionWorkspaceSize& size);

// Whether heads of this size can be attended to where a block of threads may have so much shared memory
// (cudaDeviceProp::sharedMemPerBlockOptin), and whether there by items of kind kWide: AttentionLimits::wide.
bool attention_has_kernels(uint32_t head_dim, size_t shared_bytes_max);
bool attention_has_wide(uint32_t head_dim, size_t shared_bytes_max);

// How many blocks of threads a GPU runs at once of a kind: what is best launched where the number of items is
// not known, as in a graph.
uint32_t attention_blocks(AttentionKind kind, uint32_t head_dim, uint32_t multiprocessors);

// All pointers are device memory.
struct AttentionArguments {
  const uint16_t* queries;  // binary16 [tokens, heads, head_dim], rotated
  uint32_t heads;
  uint32_t kv_heads;      // divides heads
  uint32_t head_dim;      // a multiple of 8, at most 256
  float scale;            // of the scores: 1 / sqrt(head_dim) as a rule
  const uint16_t* cache;  // rope_and_store's, blocks of 16 tokens
  size_t block_stride;    // elements
  size_t layer_offset;    // elements
  const uint32_t*
      tables;  // blocks' ids in order of position, each sequence's from its AttentionEntry::table on
  const AttentionItem* items;  // AttentionPlan::items
  const uint32_t* begins;      // [kAttentionKinds + 1] AttentionPlan::begins
  void* workspace;             // 16-byte aligned; for workspace_size
  AttentionWorkspaceSize workspace_size;
  uint16_t* out;        // bf16 [tokens, out_stride], zeros behind heads * head_dim
  uint32_t out_stride;  // elements, even
  // How many blocks of threads to launch for the items of each kind; 0: there are none. Any number is right:
  // items and their count are read when the kernels run, so that a captured launch goes with any later plan.
  uint32_t blocks[kAttentionKinds];
};

// Puts a kernel into `stream` for each kind that has blocks. cudaErrorInvalidValue: a shape that is not as
// above. Allocates nothing and waits for nothing; the workspace is one launch's at a time.
cudaError_t paged_attention(const AttentionArguments& arguments, cudaStream_t stream);

}  // namespace deepserve::kernels::cuda
