// The memory of the paged KV cache on a CPU: one piece, blocks of kernels::kBlockTokens positions.
//
// One block holds all layers of its positions: [layers][key, value][kv_heads], each part as kv_format.h says.
// Pages are given by the system when first written to.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ipc/base/result.h"
#include "kernels/cpu/kv_format.h"
#include "runner/backend/backend.h"
#include "runner/model/model_config.h"

namespace deepserve::runner {

class KvCache {
 public:
  // As many blocks as `size_bytes` hold; 0: enough for one sequence of the model's context. kInvalidConfig
  // when that is none, or more than the host's memory; kOutOfMemory when it is not to be had now.
  static Result<KvCache> make(const ModelConfig& config, kernels::KvType type, uint64_t size_bytes);
  KvCache(KvCache&& other) noexcept;
  KvCache& operator=(KvCache&&) = delete;
  ~KvCache();

  uint32_t blocks() const { return blocks_; }
  kernels::KvType type() const { return type_; }
  const uint8_t* data() const { return data_; }
  size_t block_bytes() const { return block_bytes_; }  // from one block to the next

  // Where the keys of `layer` and `kv_head` begin inside a block, and its values; in bytes.
  size_t key_offset(uint32_t layer, uint32_t kv_head) const {
    return size_t{layer} * kv_heads_ * (key_bytes_ + value_bytes_) + kv_head * key_bytes_;
  }
  size_t value_offset(uint32_t layer, uint32_t kv_head) const {
    return key_offset(layer, kv_heads_) + kv_head * value_bytes_;
  }
  uint8_t* block(BlockId block) { return data_ + block * block_bytes_; }

  void copy_block(BlockId from, BlockId to);

 private:
  KvCache() = default;

  uint8_t* data_ = nullptr;
  kernels::KvType type_ = kernels::KvType::kF32;
  size_t mapped_bytes_ = 0;
  size_t block_bytes_ = 0;
  size_t key_bytes_ = 0;  // of one layer and head
  size_t value_bytes_ = 0;
  uint32_t kv_heads_ = 0;
  uint32_t blocks_ = 0;
};

}  // namespace deepserve::runner
