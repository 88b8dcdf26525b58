// Which KV blocks are in use, and by how many sequences. Pure bookkeeping: the memory is the backend's.
#pragma once

#include <cstdint>
#include <vector>

#include "runner/backend/backend.h"

namespace deepserve::runner {

class BlockPool {
 public:
  // Blocks 0..blocks-1 of `block_tokens` tokens each, all free.
  BlockPool(uint32_t blocks, uint32_t block_tokens);

  uint32_t total() const { return static_cast<uint32_t>(references_.size()); }
  uint32_t free() const { return static_cast<uint32_t>(free_.size()); }
  uint32_t block_tokens() const { return block_tokens_; }
  // How many blocks hold `tokens` tokens.
  uint32_t blocks_for(uint64_t tokens) const {
    return static_cast<uint32_t>((tokens + block_tokens_ - 1) / block_tokens_);
  }

  // A free block with one reference; there must be one.
  BlockId take();
  void share(BlockId block);
  // Drops one reference; the last one frees the block.
  void release(BlockId block);
  uint32_t references(BlockId block) const { return references_[block]; }

 private:
  uint32_t block_tokens_;
  std::vector<uint32_t> references_;  // [block]
  std::vector<BlockId> free_;         // a stack: the block freed last is the warmest
};

}  // namespace deepserve::runner
