// The rows of a chunk as a step gives them: logits, or what the backend drew from them.
#pragma once

#include <algorithm>
#include <span>

#include "ipc/base/check.h"
#include "runner/backend/row_draw.h"
#include "runner/engine/logits_rows.h"

namespace deepserve::runner {

// Borrowed.
struct StepRow {
  LogitsRow logits = {};                    // of rows that were not drawn from
  const RowDraw* draw = nullptr;            // of the others
  const DrawnRow* drawn = nullptr;          // what came of it
  std::span<const DrawnToken> tokens = {};  // [draw->choices]

  const DrawnToken& token_of(uint16_t choice) const {
    const auto found = std::ranges::find(draw->choices, choice);
    CHECK(found != draw->choices.end());
    return tokens[static_cast<size_t>(found - draw->choices.begin())];
  }
};

// Consecutive rows, either all drawn or none; each drawn one has as many choices. Borrowed.
struct StepRows {
  LogitsRows logits = {};
  std::span<const RowDraw> draws = {};
  std::span<const DrawnRow> drawn = {};
  std::span<const DrawnToken> tokens = {};

  size_t size() const { return draws.empty() ? logits.size() : draws.size(); }
  StepRow operator[](size_t row) const {
    if (draws.empty()) return {.logits = logits[row]};
    const size_t choices = draws[row].choices.size();
    return {.draw = &draws[row], .drawn = &drawn[row], .tokens = tokens.subspan(row * choices, choices)};
  }
  StepRow back() const { return (*this)[size() - 1]; }
};

}  // namespace deepserve::runner
