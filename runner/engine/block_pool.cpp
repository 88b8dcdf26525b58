#include "runner/engine/block_pool.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::runner {

BlockPool::BlockPool(uint32_t blocks, uint32_t block_tokens)
    : block_tokens_(block_tokens), references_(blocks, 0), index_(blocks, block_tokens), links_(blocks) {
  CHECK(block_tokens > 0);
  free_.reserve(blocks);
  for (BlockId block = blocks; block > 0; --block) free_.push_back(block - 1);
}

BlockId BlockPool::take() {
  CHECK(available() > 0);
  BlockId block = oldest_;
  if (free_.empty()) {
    unlink_cached(block);
    index_.erase(block);
  } else {
    block = free_.back();
    free_.pop_back();
  }
  CHECK(references_[block] == 0);
  references_[block] = 1;
  return block;
}

void BlockPool::share(BlockId block) {
  if (references_[block] == 0) {
    CHECK(index_.knows(block));
    unlink_cached(block);
  }
  ++references_[block];
}

void BlockPool::release(BlockId block) {
  CHECK(references_[block] > 0);
  if (--references_[block] > 0) return;
  if (index_.knows(block)) {
    append_cached(block);
  } else {
    free_.push_back(block);
  }
}

void BlockPool::append_cached(BlockId block) {
  links_[block] = {newest_, kNone};
  (newest_ == kNone ? oldest_ : links_[newest_].next) = block;
  newest_ = block;
  ++cached_;
}

void BlockPool::unlink_cached(BlockId block) {
  const auto [previous, next] = links_[block];
  (previous == kNone ? oldest_ : links_[previous].next) = next;
  (next == kNone ? newest_ : links_[next].previous) = previous;
  CHECK(cached_ > 0);
  --cached_;
}

void BlockPool::check_accounting() const {
  uint32_t linked = 0;
  for (BlockId block = oldest_; block != kNone; block = links_[block].next) {
    CHECK(references_[block] == 0 && index_.knows(block));
    CHECK(++linked <= cached_);
  }
  CHECK(linked == cached_);
  for (const BlockId block : free_) CHECK(references_[block] == 0 && !index_.knows(block));
  const auto used = std::ranges::count_if(references_, [](uint32_t references) { return references > 0; });
  CHECK(static_cast<uint64_t>(used) + cached_ + free_.size() == total());
}

}  // namespace deepserve::runner
