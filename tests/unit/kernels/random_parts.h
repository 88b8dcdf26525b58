// Columns cut into parts at random, and their sums joined as kernels/cpu/column_parts.h says.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/cpu/column_parts.h"
#include "tests/unit/kernels/random_weights.h"

namespace deepserve::kernels {

// Borders are multiples of `unit`. What lies before the first part and behind the last is in none.
inline ColumnParts random_parts(RandomWeights& random, size_t columns, size_t unit) {
  ColumnParts parts;
  const size_t units = columns / unit;
  parts.begin = random.number(0, 2) == 0 ? random.number(0, units - 1) * unit : 0;
  const size_t count = random.number(1, std::min(units - parts.begin / unit, kColumnPartsMax));
  while (parts.count < count) {
    const size_t begin = begin_of(parts, parts.count) / unit, left = count - parts.count - 1;
    const bool to_the_end = left == 0 && random.number(0, 2) != 0;
    const size_t end = to_the_end ? units : random.number(begin + 1, units - left);
    parts.ends[parts.count++] = end * unit;
  }
  return parts;
}

inline ColumnParts some_of(const ColumnParts& parts, size_t begin, size_t end) {
  ColumnParts some;
  some.begin = begin_of(parts, begin);
  for (size_t part = begin; part < end; ++part) some.ends[some.count++] = parts.ends[part];
  return some;
}

// The sum of parts [begin, end) from the parts' own outputs.
template <typename Product>
std::vector<float> joined_products(const ColumnParts& parts, size_t begin, size_t end,
                                   const Product& product) {
  if (end - begin == 1) return product(some_of(parts, begin, end));
  const size_t middle = begin + (end - begin) / 2;
  auto sums = joined_products(parts, begin, middle, product);
  const auto others = joined_products(parts, middle, end, product);
  for (size_t i = 0; i < sums.size(); ++i) sums[i] += others[i];
  return sums;
}

}  // namespace deepserve::kernels
