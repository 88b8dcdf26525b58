#include "runner/engine/block_pool.h"

#include "ipc/base/check.h"

namespace deepserve::runner {

BlockPool::BlockPool(uint32_t blocks, uint32_t block_tokens)
    : block_tokens_(block_tokens), references_(blocks, 0) {
  CHECK(block_tokens > 0);
  free_.reserve(blocks);
  for (BlockId block = blocks; block > 0; --block) free_.push_back(block - 1);
}

BlockId BlockPool::take() {
  CHECK(!free_.empty());
  const BlockId block = free_.back();
  free_.pop_back();
  CHECK(references_[block] == 0);
  references_[block] = 1;
  return block;
}

void BlockPool::share(BlockId block) {
  CHECK(references_[block] > 0);
  ++references_[block];
}

void BlockPool::release(BlockId block) {
  CHECK(references_[block] > 0);
  if (--references_[block] == 0) free_.push_back(block);
}

}  // namespace deepserve::runner
