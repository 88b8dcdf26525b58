// Rows of logits as a step of the model gave them, with their outlines (kernels/cpu/logits.h).
#pragma once

#include <cstddef>
#include <span>

#include "kernels/cpu/logits.h"

namespace deepserve::runner {

// One row. Borrowed; of the logits alone everything else can be found.
struct LogitsRow {
  std::span<float> logits;              // [vocabulary]
  std::span<const float> largest = {};  // [chunks]; empty: not known
  std::span<const float> sums = {};     // [chunks], at sums_scale
  float sums_scale = 0;                 // 0: there are no sums
};

// Consecutive rows, whose sums have one scale, or none. Borrowed.
struct LogitsRows {
  std::span<float> logits;         // [rows, vocabulary]
  std::span<const float> largest;  // [rows, chunks]
  std::span<const float> sums;     // [rows, chunks]
  float sums_scale = 0;
  size_t vocabulary = 0;

  size_t size() const { return vocabulary == 0 ? 0 : logits.size() / vocabulary; }
  LogitsRow operator[](size_t row) const {
    const size_t chunks = kernels::logits_chunks(vocabulary);
    return {logits.subspan(row * vocabulary, vocabulary), largest.subspan(row * chunks, chunks),
            sums.subspan(row * chunks, chunks), sums_scale};
  }
  LogitsRow back() const { return (*this)[size() - 1]; }
};

}  // namespace deepserve::runner
