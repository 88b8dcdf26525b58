#include "runner/backend/cuda/device_kv_cache.h"

namespace deepserve::runner::cuda {
namespace {

constexpr uint64_t kElementBytes = 2;

size_t layer_elements(const ModelConfig& config) {
  return size_t{2} * config.kv_heads * kernels::kBlockTokens * config.head_dim;
}

}  // namespace

uint64_t DeviceKvCache::block_bytes(const ModelConfig& config) {
  return config.layers * layer_elements(config) * kElementBytes;
}

Result<uint32_t> DeviceKvCache::blocks_for(const ModelConfig& config, uint64_t bytes) {
  const uint64_t block = block_bytes(config);
  uint64_t blocks = bytes / block;
  if (bytes == 0) blocks = (config.context_tokens + kernels::kBlockTokens - 1) / kernels::kBlockTokens;
  if (blocks == 0) {
    return fail(Code::kInvalidConfig, "{} bytes of KV memory hold no block of {} tokens, which takes {}",
                bytes, kernels::kBlockTokens, block);
  }
  constexpr uint64_t kBlocksMax = uint64_t{1} << 31;
  return static_cast<uint32_t>(std::min(blocks, kBlocksMax));
}

Result<DeviceKvCache> DeviceKvCache::make(const ModelConfig& config, uint32_t blocks) {
  DeviceKvCache cache;
  cache.blocks_ = blocks;
  cache.layers_ = config.layers;
  cache.layer_stride_ = layer_elements(config);
  TRY_ASSIGN(cache.memory_, DeviceMemory::make(blocks * block_bytes(config), "the KV cache"));
  return cache;
}

Result<void> DeviceKvCache::copy_block(BlockId from, BlockId to, cudaStream_t stream) {
  const size_t stride = block_stride();
  return checked(cudaMemcpyAsync(data() + to * stride, data() + from * stride, stride * kElementBytes,
                                 cudaMemcpyDeviceToDevice, stream),
                 "copying a KV block");
}

}  // namespace deepserve::runner::cuda
