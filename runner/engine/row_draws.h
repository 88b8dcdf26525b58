// What the rows of a step are drawn by where the backend draws by itself (backend/row_draw.h): in memory that
// is kept from step to step.
//
// Some rows' logits are wanted here all the same: those that score a prompt, those of a request whose
// constraint lets nothing come (it is told so when its row is), and all of a sequence that drafts under
// penalties or a constraint: what they say of a row depends on the drafts before it.
#pragma once

#include <span>
#include <vector>

#include "runner/backend/row_draw.h"
#include "runner/engine/draw_rule.h"

namespace deepserve::runner {

class RowDraws {
 public:
  // `rule` must outlive the object.
  explicit RowDraws(const DrawRule& rule) : rule_(rule) {}

  void clear();
  // Chunk by chunk, in the plan's order: the next one runs `sequence` to its end, with its drafts. False: its
  // logits are wanted.
  bool add(Sequence& sequence);
  // No chunk comes any more: the draws may be looked at until clear(), while no sequence changes.
  void finish();

  // Of `rows` rows from the `first` on.
  std::span<const RowDraw> rows(size_t first, size_t count) const {
    return std::span(rows_).subspan(first, count);
  }
  size_t size() const { return rows_.size(); }

 private:
  // What a row borrows from the vectors below, which may move until all is there.
  struct Borrowed {
    size_t choices_begin, choices_size;
    size_t mask_begin, mask_size;
  };

  const DrawRule& rule_;
  std::vector<RowDraw> rows_;
  std::vector<Borrowed> borrowed_;  // [rows]
  std::vector<uint16_t> choices_;
  std::vector<uint64_t> masks_;
};

}  // namespace deepserve::runner
