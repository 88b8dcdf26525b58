#include "runner/engine/prefix_index.h"

#include <algorithm>
#include <bit>

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

uint64_t mix(uint64_t value) {  // the finaliser of MurmurHash3 (Appleby), as splitmix64 has it
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

PrefixIndex::PrefixIndex(uint32_t blocks, uint32_t block_tokens)
    : block_tokens_(block_tokens),
      entries_(blocks),
      tokens_(size_t{blocks} * block_tokens),
      buckets_(std::bit_ceil(size_t{blocks} + 1), kNone) {}

size_t PrefixIndex::bucket_of(const PrefixParent& parent, std::span<const TokenId> tokens) const {
  uint64_t state = mix(parent.low + 0x9e3779b97f4a7c15) ^ parent.high;
  for (const TokenId token : tokens) state = mix(state + token + 0x9e3779b97f4a7c15);
  return state & (buckets_.size() - 1);
}

std::optional<BlockId> PrefixIndex::find(const PrefixParent& parent, std::span<const TokenId> tokens) const {
  CHECK(tokens.size() == block_tokens_);
  for (BlockId block = buckets_[bucket_of(parent, tokens)]; block != kNone; block = entries_[block].next) {
    if (entries_[block].parent == parent && std::ranges::equal(tokens_of(block), tokens)) return block;
  }
  return std::nullopt;
}

void PrefixIndex::insert(BlockId block, const PrefixParent& parent, std::span<const TokenId> tokens) {
  CHECK(tokens.size() == block_tokens_ && !knows(block));
  std::ranges::copy(tokens, tokens_.begin() + static_cast<ptrdiff_t>(size_t{block} * block_tokens_));
  BlockId& first = buckets_[bucket_of(parent, tokens)];
  entries_[block] = {parent, ++serials_, first};
  first = block;
}

void PrefixIndex::erase(BlockId block) {
  CHECK(knows(block));
  BlockId* link = &buckets_[bucket_of(entries_[block].parent, tokens_of(block))];
  while (*link != block) link = &entries_[*link].next;
  *link = entries_[block].next;
  entries_[block] = {};
}

}  // namespace deepserve::runner
