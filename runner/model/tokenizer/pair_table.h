// A hash table from pairs of token ids to their merge; built once, then read by any number of threads.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "runner/model/vocabulary.h"

namespace deepserve::runner {

class PairTable {
 public:
  struct Merge {
    uint32_t rank;
    TokenId merged;
  };

  // Room for `pairs` pairs, 0xfffffffe at the most.
  explicit PairTable(size_t pairs = 0) : slots_(std::bit_ceil(pairs + pairs / 3 + 2)) {}

  // A pair that was added before gets the new merge.
  void add(TokenId left, TokenId right, Merge merge) {
    Slot& slot = slots_[index_of(left, right)];
    slot = {left, right, merge};
  }

  const Merge* find(TokenId left, TokenId right) const {
    const Slot& slot = slots_[index_of(left, right)];
    return slot.left == kNone ? nullptr : &slot.merge;
  }

 private:
  static constexpr TokenId kNone = 0xffffffff;  // no token has this id
  struct Slot {
    TokenId left = kNone;
    TokenId right = kNone;
    Merge merge{};
  };

  // Of the slot that holds the pair, else of the free one where it belongs.
  size_t index_of(TokenId left, TokenId right) const {
    const uint64_t key = uint64_t{left} << 32 | right;
    const size_t mask = slots_.size() - 1;
    size_t index = (key * 0x9e3779b97f4a7c15u ^ key >> 29) * 0xbf58476d1ce4e5b9u >> 20 & mask;
    while (slots_[index].left != kNone && (slots_[index].left != left || slots_[index].right != right)) {
      index = (index + 1) & mask;
    }
    return index;
  }

  std::vector<Slot> slots_;  // a power of two, at most three quarters of them taken
};

}  // namespace deepserve::runner
