#include "runner/model/tokenizer/pair_merger.h"

#include <algorithm>
#include <array>
#include <functional>

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

constexpr size_t kShortSymbols = 48;  // up to here looking at every pair anew is faster than a queue
constexpr uint32_t kNoRank = 0xffffffff;
constexpr TokenId kTaken = 0xffffffff;  // a symbol that was merged into the one before it

}  // namespace

void PairMerger::merge(std::span<TokenId> symbols, std::vector<TokenId>& ids) const {
  if (symbols.size() <= kShortSymbols) return merge_short(symbols, ids);
  merge_long(symbols, ids);
}

void PairMerger::merge_short(std::span<TokenId> symbols, std::vector<TokenId>& ids) const {
  std::array<PairTable::Merge, kShortSymbols> merges;  // [i]: of the symbols i and i + 1
  size_t count = symbols.size();
  const auto look_up = [&](size_t i) {
    const PairTable::Merge* found = i + 1 < count ? table_.find(symbols[i], symbols[i + 1]) : nullptr;
    merges[i] = found ? *found : PairTable::Merge{kNoRank, kTaken};
  };
  for (size_t i = 0; i < count; ++i) look_up(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoRank) break;
    symbols[best] = merges[best].merged;
    std::move(symbols.begin() + best + 2, symbols.begin() + count, symbols.begin() + best + 1);
    std::move(merges.begin() + best + 2, merges.begin() + count, merges.begin() + best + 1);
    --count;
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + count);
}

// A linked list of symbols and a heap of candidate merges: n log n, also for a megabyte without a space.
void PairMerger::merge_long(std::span<TokenId> symbols, std::vector<TokenId>& ids) const {
  CHECK(symbols.size() < kNoRank);
  const auto end = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> previous(end), next(end);
  // A candidate is its rank above its left symbol's index, so that the least one is to be merged first.
  std::vector<uint64_t> candidates;
  const auto look_up = [&](uint32_t left) { return table_.find(symbols[left], symbols[next[left]]); };
  const auto candidate = [](uint32_t rank, uint32_t left) { return uint64_t{rank} << 32 | left; };
  const auto propose = [&](uint32_t left) {
    const PairTable::Merge* found = next[left] == end ? nullptr : look_up(left);
    if (!found) return;
    candidates.push_back(candidate(found->rank, left));
    std::push_heap(candidates.begin(), candidates.end(), std::greater<>());
  };
  for (uint32_t i = 0; i < end; ++i) {
    previous[i] = i - 1;
    next[i] = i + 1;
    const PairTable::Merge* found = i + 1 < end ? look_up(i) : nullptr;
    if (found) candidates.push_back(candidate(found->rank, i));
  }
  std::make_heap(candidates.begin(), candidates.end(), std::greater<>());
  while (!candidates.empty()) {
    std::pop_heap(candidates.begin(), candidates.end(), std::greater<>());
    const auto left = static_cast<uint32_t>(candidates.back());
    const auto rank = static_cast<uint32_t>(candidates.back() >> 32);
    candidates.pop_back();
    if (symbols[left] == kTaken || next[left] == end) continue;
    const PairTable::Merge* found = look_up(left);
    if (!found || found->rank != rank) continue;  // one of the two was merged meanwhile
    const uint32_t right = next[left];
    symbols[left] = found->merged;
    symbols[right] = kTaken;
    next[left] = next[right];
    if (next[right] != end) previous[next[right]] = left;
    propose(left);
    if (left > 0) propose(previous[left]);
  }
  for (uint32_t i = 0; i < end; i = next[i]) ids.push_back(symbols[i]);
}

}  // namespace deepserve::runner
