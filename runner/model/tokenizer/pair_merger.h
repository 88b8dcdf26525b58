// Byte pair encoding itself: merges a piece's symbols pairwise, always the pair of the lowest rank, of equal
// ones the leftmost. Built once, then used by any number of threads.
#pragma once

#include <span>
#include <vector>

#include "runner/model/tokenizer/pair_table.h"

namespace deepserve::runner {

class PairMerger {
 public:
  // Room for `pairs` pairs; the rank of each is the order of its add(). A pair that was added before gets the
  // new rank and result, as in Hugging Face's `tokenizers`.
  explicit PairMerger(size_t pairs = 0) : table_(pairs) {}
  void add(TokenId left, TokenId right, TokenId merged) { table_.add(left, right, {next_rank_++, merged}); }
  void skip() { ++next_rank_; }

  // Appends what the symbols become to `ids`; overwrites `symbols`. Takes n log n.
  void merge(std::span<TokenId> symbols, std::vector<TokenId>& ids) const;

 private:
  void merge_short(std::span<TokenId> symbols, std::vector<TokenId>& ids) const;
  void merge_long(std::span<TokenId> symbols, std::vector<TokenId>& ids) const;

  PairTable table_;
  uint32_t next_rank_ = 0;
};

}  // namespace deepserve::runner
