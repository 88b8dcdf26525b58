#include "runner/engine/draft.h"

#include <algorithm>
#include <bit>

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

constexpr size_t kPlacesMin = 64;  // a power of two, as every number of places

}  // namespace

size_t DraftIndex::home(std::span<const TokenId> tokens, uint32_t end, uint32_t n, size_t places) {
  uint64_t hash = 0;
  for (uint32_t i = end - n; i < end; ++i) hash = (hash ^ tokens[i]) * 0x9E3779B97F4A7C15;
  return hash >> (64 - std::countr_zero(places));
}

// That of the n-gram before `end`, or the empty one where it belongs.
uint32_t& DraftIndex::place(Table& table, std::span<const TokenId> tokens, uint32_t end, uint32_t n) {
  const auto gram = tokens.subspan(end - n, n);
  const size_t last = table.ends.size() - 1;
  size_t at = home(tokens, end, n, table.ends.size());
  while (table.ends[at] != 0 && !std::ranges::equal(tokens.subspan(table.ends[at] - n, n), gram)) {
    at = (at + 1) & last;
  }
  return table.ends[at];
}

void DraftIndex::grow(Table& table, std::span<const TokenId> tokens, uint32_t n, size_t places) {
  std::vector<uint32_t> before(places, 0);
  before.swap(table.ends);
  for (const uint32_t end : before) {
    if (end != 0) place(table, tokens, end, n) = end;
  }
}

void DraftIndex::take(std::span<const TokenId> tokens, uint32_t end) {
  match_ = {};
  for (uint32_t n = 1; n <= std::min(end, DraftMatch::kTokensMax); ++n) {
    Table& table = tables_[n - 1];
    if (2 * (table.used + 1) > table.ends.size()) grow(table, tokens, n, 2 * table.ends.size());
    uint32_t& found = place(table, tokens, end, n);
    if (found == 0) {
      ++table.used;
    } else {
      match_ = {n, found};
    }
    found = end;
  }
}

bool DraftIndex::follow(std::span<const TokenId> tokens, uint32_t tokens_max) {
  CHECK(followed_ <= tokens.size());
  if (followed_ == 0) {
    const size_t places = std::bit_ceil(std::max(kPlacesMin, 2 * (tokens.size() + 1)));
    for (uint32_t n = 1; n <= DraftMatch::kTokensMax; ++n) grow(tables_[n - 1], tokens, n, places);
  }
  for (; followed_ < tokens.size() && tokens_max > 0; --tokens_max) take(tokens, ++followed_);
  return followed_ == tokens.size();
}

TokenId DraftIndex::draft_token(std::span<const TokenId> tokens, const DraftMatch& match, uint32_t i) {
  const size_t period = tokens.size() - match.next;
  return tokens[match.next + i % period];
}

}  // namespace deepserve::runner
