// Columns in parts of nearly equal size.
#pragma once

#include <cstddef>

#include "kernels/cpu/column_parts.h"

namespace deepserve::bench {

// Borders at multiples of 32. 1 part: all columns.
inline kernels::ColumnParts even_parts(size_t columns, size_t count) {
  kernels::ColumnParts parts;
  if (count == 1) return parts;
  for (size_t i = 1; i <= count; ++i) parts.ends[parts.count++] = columns / 32 * i / count * 32;
  return parts;
}

}  // namespace deepserve::bench
