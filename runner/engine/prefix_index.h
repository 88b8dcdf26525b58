// Which KV block holds which tokens after which others: finds what of a prompt was computed before.
//
// A block is known by its own tokens and by its parent: the block before it, or for a sequence's first block
// the prompt's salt. Hashes only choose the bucket: tokens, parent and salt are compared themselves, and a
// parent is named by the serial number of its content, which is never used twice. So a block is found only
// after exactly the tokens that it was computed after, whatever collides. Pure bookkeeping; takes no memory
// after it was made.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runner/backend/backend.h"

namespace deepserve::runner {

// What came before a block.
struct PrefixParent {
  bool root = true;   // nothing: `low` and `high` are the prompt's salt
  uint64_t low = 0;   // else the content's serial number
  uint64_t high = 0;  // else 0

  static PrefixParent of_salt(const ipc::PrefixSalt& salt) { return {true, salt.low, salt.high}; }
  bool operator==(const PrefixParent&) const = default;
};

class PrefixIndex {
 public:
  // Blocks 0..blocks-1 of `block_tokens` tokens each, none known.
  PrefixIndex(uint32_t blocks, uint32_t block_tokens);

  // The block that holds `tokens` [block_tokens] after `parent`.
  std::optional<BlockId> find(const PrefixParent& parent, std::span<const TokenId> tokens) const;
  // From now on `block` is that block. It must not be known, nor another one be found for the same.
  void insert(BlockId block, const PrefixParent& parent, std::span<const TokenId> tokens);
  // Its content goes: neither it nor what came after it is found any more.
  void erase(BlockId block);

  bool knows(BlockId block) const { return entries_[block].serial != 0; }
  // `block`, which must be known, as what comes before another one.
  PrefixParent parent_of_next(BlockId block) const { return {false, entries_[block].serial, 0}; }

 private:
  static constexpr BlockId kNone = 0xffffffff;
  struct Entry {
    PrefixParent parent;
    uint64_t serial = 0;   // 0: not known
    BlockId next = kNone;  // in its bucket
  };

  size_t bucket_of(const PrefixParent& parent, std::span<const TokenId> tokens) const;
  std::span<const TokenId> tokens_of(BlockId block) const {
    return std::span(tokens_).subspan(size_t{block} * block_tokens_, block_tokens_);
  }

  uint32_t block_tokens_;
  uint64_t serials_ = 0;
  std::vector<Entry> entries_;    // [block]
  std::vector<TokenId> tokens_;   // [block, block_tokens]
  std::vector<BlockId> buckets_;  // the first of each; a power of two of them
};

}  // namespace deepserve::runner
