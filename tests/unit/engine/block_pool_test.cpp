#include "runner/engine/block_pool.h"

#include <gtest/gtest.h>

#include <random>

namespace deepserve::runner {
namespace {

constexpr uint32_t kBlockTokens = 4;

std::vector<TokenId> block_of(TokenId token) {
  return std::vector<TokenId>(kBlockTokens, token);
}

PrefixParent root(uint64_t salt = 0) {
  return PrefixParent::of_salt({salt, 0});
}

TEST(PrefixIndex, ABlockIsFoundByItsTokensAfterItsParentAlone) {
  PrefixIndex index(8, kBlockTokens);
  index.insert(3, root(), block_of(5));
  index.insert(4, index.parent_of_next(3), block_of(6));
  EXPECT_EQ(index.find(root(), block_of(5)), 3u);
  EXPECT_EQ(index.find(index.parent_of_next(3), block_of(6)), 4u);
  EXPECT_FALSE(index.find(root(), block_of(6)));
  EXPECT_FALSE(index.find(index.parent_of_next(4), block_of(6)));
  EXPECT_FALSE(index.find(root(1), block_of(5)));
}

TEST(PrefixIndex, OfManyInOneBucketEachIsFoundByItsOwnTokens) {
  // Two buckets for all of them: hashes that collide must not lend anyone another's block.
  PrefixIndex index(1, kBlockTokens);
  PrefixIndex full(500, kBlockTokens);
  for (BlockId block = 0; block < 500; ++block) full.insert(block, root(block % 7), block_of(block / 7));
  for (BlockId block = 0; block < 500; ++block) {
    ASSERT_EQ(full.find(root(block % 7), block_of(block / 7)), block);
  }
  index.insert(0, root(), block_of(1));
  for (TokenId token = 2; token < 2000; ++token) ASSERT_FALSE(index.find(root(), block_of(token)));
}

TEST(PrefixIndex, WhatCameAfterAnErasedBlockIsNotFoundAfterItsSuccessor) {
  PrefixIndex index(8, kBlockTokens);
  index.insert(0, root(), block_of(5));
  index.insert(1, index.parent_of_next(0), block_of(6));
  index.erase(0);
  EXPECT_FALSE(index.find(root(), block_of(5)));
  index.insert(0, root(), block_of(9));  // other content in the same place
  EXPECT_FALSE(index.find(index.parent_of_next(0), block_of(6)));
}

TEST(BlockPool, WhatIsRememberedIsCachedOnceReleasedAndTheRestIsFree) {
  BlockPool pool(4, kBlockTokens);
  const BlockId known = pool.take();
  const BlockId other = pool.take();
  pool.remember(known, root(), block_of(1));
  pool.release(known);
  pool.release(other);
  EXPECT_EQ(pool.cached(), 1u);
  EXPECT_EQ(pool.free(), 3u);
  EXPECT_EQ(pool.available(), 4u);
  pool.share(known);
  EXPECT_EQ(pool.used(), 1u);
  EXPECT_EQ(pool.references(known), 1u);
  pool.check_accounting();
}

TEST(BlockPool, CachedBlocksGoWhenNoneIsFreeTheLongestUnusedFirst) {
  BlockPool pool(3, kBlockTokens);
  std::vector<BlockId> blocks;
  for (TokenId token = 0; token < 3; ++token) {
    blocks.push_back(pool.take());
    pool.remember(blocks.back(), root(), block_of(token));
  }
  for (const BlockId block : {blocks[1], blocks[0], blocks[2]}) pool.release(block);
  pool.share(blocks[1]);
  pool.release(blocks[1]);
  EXPECT_EQ(pool.take(), blocks[0]);
  EXPECT_FALSE(pool.index().find(root(), block_of(0)));
  EXPECT_EQ(pool.take(), blocks[2]);
  EXPECT_EQ(pool.index().find(root(), block_of(1)), blocks[1]);
  pool.check_accounting();
}

TEST(BlockPool, RandomUseNeverLosesABlock) {
  std::mt19937 random(3);
  BlockPool pool(20, kBlockTokens);
  std::vector<BlockId> held;
  for (int turn = 0; turn < 20'000; ++turn) {
    const TokenId token = random() % 40;
    const auto known = pool.index().find(root(), block_of(token));
    if (random() % 2 == 0 && !held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      pool.release(held.back());
      held.pop_back();
    } else if (known) {
      pool.share(*known);
      held.push_back(*known);
    } else if (pool.available() > 0) {
      held.push_back(pool.take());
      if (random() % 3 != 0) pool.remember(held.back(), root(), block_of(token));
    }
    pool.check_accounting();
    uint32_t references = 0;
    for (BlockId block = 0; block < pool.total(); ++block) references += pool.references(block);
    ASSERT_EQ(references, held.size());
  }
}

}  // namespace
}  // namespace deepserve::runner
