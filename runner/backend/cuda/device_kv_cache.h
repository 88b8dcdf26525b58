// The memory of the paged KV cache on a GPU: [blocks][layers][2: keys, values][kv_heads][block_tokens]
// [head_dim] binary16.
#pragma once

#include <cstdint>

#include "kernels/cpu/kv_format.h"
#include "runner/backend/backend.h"
#include "runner/backend/cuda/device_memory.h"
#include "runner/model/model_config.h"

namespace deepserve::runner::cuda {

class DeviceKvCache {
 public:
  static uint64_t block_bytes(const ModelConfig& config);
  // As many blocks as `bytes` hold; 0: enough for one sequence of the model's context. kInvalidConfig: none.
  static Result<uint32_t> blocks_for(const ModelConfig& config, uint64_t bytes);
  static Result<DeviceKvCache> make(const ModelConfig& config, uint32_t blocks);

  uint32_t blocks() const { return blocks_; }
  uint16_t* data() const { return reinterpret_cast<uint16_t*>(memory_.data()); }
  size_t block_stride() const { return layers_ * layer_stride_; }  // elements, from one block to the next
  size_t layer_offset(uint32_t layer) const { return layer * layer_stride_; }

  Result<void> copy_block(BlockId from, BlockId to, cudaStream_t stream);

 private:
  DeviceMemory memory_;
  uint32_t blocks_ = 0;
  size_t layers_ = 0;
  size_t layer_stride_ = 0;  // elements of one layer of a block
};

}  // namespace deepserve::runner::cuda
