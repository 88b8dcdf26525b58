// Drafts of what a sequence may say next, by prompt lookup (Saxena 2023, "Prompt Lookup Decoding"): where the
// last tokens occurred before, what followed them then is proposed again.
//
// Pure: no model, no clock. A wrong draft costs time, never a token: drafts are checked by the model itself.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "ipc/wire/messages.h"

namespace deepserve::runner {

using ipc::TokenId;

// The end of `tokens` occurred before.
struct DraftMatch {
  static constexpr uint32_t kTokensMax = 3;

  uint32_t tokens = 0;  // how long the end is that did, at most kTokensMax; 0: not even the last token
  uint32_t next = 0;    // the position after its latest earlier occurrence
};

// Where each n-gram of a growing sequence (n = 1 to 3) ended last. A token is taken in with constant work;
// memory grows by doubling, about 24 bytes a token, and not at all before the first token.
class DraftIndex {
 public:
  // Takes in at most `tokens_max` more of `tokens`, which must begin with those of the calls before. True
  // when none is left.
  bool follow(std::span<const TokenId> tokens, uint32_t tokens_max);

  // The longest match of the end of what was followed.
  const DraftMatch& match() const { return match_; }

  // Token `i` of the draft that `match` makes of `tokens`. A draft that comes to the sequence's own end goes
  // round: what repeats itself is proposed to go on doing so.
  static TokenId draft_token(std::span<const TokenId> tokens, const DraftMatch& match, uint32_t i);

 private:
  // Open addressing; a place holds the position after the n-gram, 0: empty. Never more than half full.
  struct Table {
    std::vector<uint32_t> ends;
    uint32_t used = 0;
  };

  static size_t home(std::span<const TokenId> tokens, uint32_t end, uint32_t n, size_t places);
  static uint32_t& place(Table& table, std::span<const TokenId> tokens, uint32_t end, uint32_t n);
  static void grow(Table& table, std::span<const TokenId> tokens, uint32_t n, size_t places);
  void take(std::span<const TokenId> tokens, uint32_t end);

  std::array<Table, DraftMatch::kTokensMax> tables_;  // [n - 1]
  uint32_t followed_ = 0;
  DraftMatch match_;
};

}  // namespace deepserve::runner
