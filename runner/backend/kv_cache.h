// The memory of the paged KV cache on a CPU: float32, one piece, blocks of kernels::kBlockTokens positions.
//
// One block holds all layers of its positions: [layers][key, value][kv_heads][kBlockTokens, head_dim]. Pages
// are given by the system when first written to.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"
#include "runner/model/model_config.h"

namespace deepserve::runner {

class KvCache {
 public:
  static constexpr const char* kElementName = "f32";

  // As many blocks as `size_bytes` hold; 0: enough for one sequence of the model's context. kInvalidConfig
  // when that is none, kOutOfMemory when there is no such memory.
  static Result<KvCache> make(const ModelConfig& config, uint64_t size_bytes);
  KvCache(KvCache&& other) noexcept;
  KvCache& operator=(KvCache&&) = delete;
  ~KvCache();

  uint32_t blocks() const { return blocks_; }
  const float* data() const { return data_; }
  size_t block_stride() const { return block_stride_; }  // elements from one block to the next

  // Where keys [kBlockTokens, head_dim] of `layer` and `kv_head` begin inside a block, and its values.
  size_t key_offset(uint32_t layer, uint32_t kv_head) const { return offset(layer, 0, kv_head); }
  size_t value_offset(uint32_t layer, uint32_t kv_head) const { return offset(layer, 1, kv_head); }
  float* block(BlockId block) { return data_ + block * block_stride_; }

  void copy_block(BlockId from, BlockId to);

 private:
  KvCache() = default;
  size_t offset(uint32_t layer, uint32_t part, uint32_t kv_head) const {
    return ((size_t{layer} * 2 + part) * kv_heads_ + kv_head) * head_stride_;
  }

  float* data_ = nullptr;
  size_t mapped_bytes_ = 0;
  size_t block_stride_ = 0;
  size_t head_stride_ = 0;  // kBlockTokens * head_dim
  uint32_t kv_heads_ = 0;
  uint32_t blocks_ = 0;
};

}  // namespace deepserve::runner
