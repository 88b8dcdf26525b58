// Which KV blocks are in use, by how many sequences, and which of the others still hold what they computed.
// Pure bookkeeping: the memory is the backend's.
//
// A block is used (it has references), cached (none, but its content is known and may be found again) or
// free: used() + cached() + free() = total(). Cached blocks are given away when no block is free, the one
// first that was released the longest ago. A sequence releases its blocks from the last to the first, so that
// what comes after a block always goes before it.
#pragma once

#include <cstdint>
#include <vector>

#include "runner/backend/backend.h"
#include "runner/engine/prefix_index.h"

namespace deepserve::runner {

class BlockPool {
 public:
  // Blocks 0..blocks-1 of `block_tokens` tokens each, all free.
  BlockPool(uint32_t blocks, uint32_t block_tokens);

  uint32_t total() const { return static_cast<uint32_t>(references_.size()); }
  uint32_t free() const { return static_cast<uint32_t>(free_.size()); }
  uint32_t cached() const { return cached_; }
  uint32_t used() const { return total() - available(); }
  // How many can be taken.
  uint32_t available() const { return free() + cached_; }
  uint32_t block_tokens() const { return block_tokens_; }
  // How many blocks hold `tokens` tokens.
  uint32_t blocks_for(uint64_t tokens) const {
    return static_cast<uint32_t>((tokens + block_tokens_ - 1) / block_tokens_);
  }

  // A block of unknown content with one reference; one must be available.
  BlockId take();
  // One more reference to a block that is used or cached.
  void share(BlockId block);
  // Drops one reference. With the last one the block is cached if its content is known, else free.
  void release(BlockId block);
  uint32_t references(BlockId block) const { return references_[block]; }

  // `block`, which is used, holds `tokens` after `parent`: from now on it can be found.
  void remember(BlockId block, const PrefixParent& parent, std::span<const TokenId> tokens) {
    index_.insert(block, parent, tokens);
  }
  // `block`, which is used and known, can be found no more.
  void forget(BlockId block) { index_.erase(block); }
  const PrefixIndex& index() const { return index_; }
  // CHECKs that the three kinds of blocks are what their lists say.
  void check_accounting() const;

 private:
  static constexpr BlockId kNone = 0xffffffff;
  struct Links {
    BlockId previous = kNone;
    BlockId next = kNone;
  };

  void append_cached(BlockId block);
  void unlink_cached(BlockId block);

  uint32_t block_tokens_;
  std::vector<uint32_t> references_;  // [block]
  std::vector<BlockId> free_;         // a stack: the block freed last is the warmest
  PrefixIndex index_;
  std::vector<Links> links_;  // [block], of those that are cached: in the order of their release
  BlockId oldest_ = kNone;
  BlockId newest_ = kNone;
  uint32_t cached_ = 0;
};

}  // namespace deepserve::runner
