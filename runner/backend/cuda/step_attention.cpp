#include "runner/backend/cuda/step_attention.h"

#include <algorithm>

#include "kernels/cuda/plain_attention.h"

namespace deepserve::runner::cuda {

Result<StepAttention> StepAttention::make(const ModelConfig& config) {
  StepAttention attention;
  attention.heads_ = config.heads;
  attention.kv_heads_ = config.kv_heads;
  attention.head_dim_ = config.head_dim;
  return attention;
}

Result<void> StepAttention::send(std::span<const BatchEntry> batch, cudaStream_t stream) {
  sequences_.clear();
  uint64_t blocks = 0;
  uint32_t row = 0;
  for (const BatchEntry& entry : batch) {
    const auto tokens = static_cast<uint32_t>(entry.tokens.size());
    if (tokens != 0) sequences_.push_back({row, tokens, entry.position, blocks});
    row += tokens;
    blocks += entry.blocks.size();
  }
  const uint64_t bytes = blocks * sizeof(BlockId);
  if (bytes > blocks_.bytes()) {
    TRY_ASSIGN(blocks_, DeviceMemory::make(2 * bytes, "block tables"));
    TRY_ASSIGN(pinned_, PinnedMemory::make(2 * bytes));
  }
  BlockId* to = pinned_.as<BlockId>();
  for (const BatchEntry& entry : batch) to = std::copy(entry.blocks.begin(), entry.blocks.end(), to);
  return checked(cudaMemcpyAsync(blocks_.data(), pinned_.data(), bytes, cudaMemcpyHostToDevice, stream),
                 "sending block tables to the GPU");
}

Result<void> StepAttention::run(const DeviceKvCache& cache, uint32_t layer, const uint16_t* queries,
                                uint16_t* attended, uint32_t stride, cudaStream_t stream) const {
  for (const Sequence& sequence : sequences_) {
    TRY(checked(kernels::cuda::plain_attention(
                    {.queries = queries + size_t{sequence.row} * heads_ * head_dim_,
                     .tokens = sequence.tokens,
                     .position = sequence.position,
                     .heads = heads_,
                     .kv_heads = kv_heads_,
                     .head_dim = head_dim_,
                     .cache = cache.data(),
                     .block_stride = cache.block_stride(),
                     .layer_offset = cache.layer_offset(layer),
                     .block_tokens = kernels::kBlockTokens,
                     .blocks = reinterpret_cast<const BlockId*>(blocks_.data()) + sequence.first_block,
                     .out = attended + size_t{sequence.row} * stride,
                     .out_stride = stride},
                    stream),
                "starting a kernel"));
  }
  return {};
}

}  // namespace deepserve::runner::cuda
