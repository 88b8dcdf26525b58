// Which columns a product is summed over, and in which order: parts, each of which has a sum of its own,
// joined by a fixed tree.
//
// The tree of parts [b, e) is the tree of [b, m) plus the tree of [m, e), m = b + (e - b) / 2: of four parts
// (p0 + p1) + (p2 + p3). Who has only the parts below one node gets that node's sum, to the bit: so the ranks
// of a spread model, who add theirs up by the rest of the tree, get what one process gets.
//
// Everything is static, for the reason that avx2_math.h gives.
#pragma once

#include <cstddef>
#include <cstdint>

namespace deepserve::kernels {

static constexpr size_t kColumnPartsMax = 8;
static constexpr size_t kWaitingPartsMax = 3;  // sums that wait for their other half, of so many parts

// Parts follow one another. Their borders are multiples of 32 but for F32, F16 and BF16, where any will do.
struct ColumnParts {
  size_t count = 0;  // 0: one part, all columns
  size_t begin = 0;  // where the first part begins; columns outside the parts count for nothing
  size_t ends[kColumnPartsMax] = {};
};

static inline size_t begin_of(const ColumnParts& parts, size_t index) {
  return index == 0 ? parts.begin : parts.ends[index - 1];
}

// `parts`, with the one part written out where it stands for all of `columns`.
static inline ColumnParts written_out(const ColumnParts& parts, size_t columns) {
  if (parts.count != 0) return parts;
  ColumnParts all;
  all.count = 1;
  all.ends[0] = columns;
  return all;
}

// How many of the sums that wait, the last first, are added to part `index`'s of `count`: one for each node
// of the tree that ends with it.
static constexpr size_t joins_behind(size_t count, size_t index) {
  size_t begin = 0, end = count, joins = 0;
  while (end - begin > 1) {
    if (end == index + 1) ++joins;
    const size_t middle = begin + (end - begin) / 2;
    if (index < middle)
      end = middle;
    else
      begin = middle;
  }
  return joins;
}
static_assert(joins_behind(8, 7) == kWaitingPartsMax && joins_behind(8, 5) == 1 && joins_behind(3, 1) == 0);

// Walks the tree: told each part's sum in order, it has the sum of all in the last one's. A sum is kSums of
// Adder::Type, which Adder::add adds.
template <typename Adder, size_t kSums>
class PartSums {
  using Type = typename Adder::Type;

 public:
  // `sums` of part `index`; those of the last one become the sums of all.
  inline __attribute__((always_inline)) void join(const ColumnParts& parts, size_t index, Type* sums) {
    if (parts.count == 1) return;
    for (size_t joins = joins_behind(parts.count, index); joins != 0; --joins) {
      --depth_;
#pragma GCC unroll 16
      for (size_t i = 0; i < kSums; ++i) sums[i] = Adder::add(waiting_[depth_][i], sums[i]);
    }
    if (index + 1 == parts.count) return;
#pragma GCC unroll 16
    for (size_t i = 0; i < kSums; ++i) waiting_[depth_][i] = sums[i];
    ++depth_;
  }

 private:
  Type waiting_[kWaitingPartsMax][kSums];
  size_t depth_ = 0;
};

}  // namespace deepserve::kernels
