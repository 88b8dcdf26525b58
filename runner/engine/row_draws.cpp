#include "runner/engine/row_draws.h"

namespace deepserve::runner {

void RowDraws::clear() {
  rows_.clear();
  borrowed_.clear();
  choices_.clear();
  masks_.clear();
}

bool RowDraws::add(Sequence& sequence) {
  const Request& request = *sequence.request;
  const uint32_t drafts = sequence.drafts.count;
  if (drafts > 0 && (sequence.matcher || sequence.counts.active())) return false;
  const uint32_t expected = sequence.expected ? 1 : 0;
  for (uint32_t ahead = 0; ahead <= drafts; ++ahead) {
    const auto draw = rule_.draw_of(sequence, expected + ahead);
    if (!draw) return false;  // of one row alone: it has a constraint
    Borrowed borrowed{choices_.size(), 1, masks_.size(), draw->allowed.size()};
    choices_.push_back(draw->choice);
    // The choices that wait for this one to prefill their prompt take its row too.
    if (sequence.size() == request.prompt_tokens) {
      for (const auto& sibling : request.choices) {
        if (sibling.awaits_leader) choices_.push_back(sibling.priority.choice);
      }
    }
    borrowed.choices_size = choices_.size() - borrowed.choices_begin;
    masks_.insert(masks_.end(), draw->allowed.begin(), draw->allowed.end());
    borrowed_.push_back(borrowed);
    rows_.push_back({.generation = &request.generation,
                     .index = draw->index,
                     .choices = {},
                     .counts = sequence.counts.entries(),
                     .masked = draw->masked,
                     .masked_too = draw->masked_too,
                     .allowed = {}});
  }
  return true;
}

void RowDraws::finish() {
  for (size_t row = 0; row < rows_.size(); ++row) {
    const Borrowed& borrowed = borrowed_[row];
    rows_[row].choices = std::span(choices_).subspan(borrowed.choices_begin, borrowed.choices_size);
    rows_[row].allowed = std::span(masks_).subspan(borrowed.mask_begin, borrowed.mask_size);
  }
}

}  // namespace deepserve::runner
