// One step's batch: what its chunks ask of the backend, and what it computed for each of them.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "runner/backend/backend.h"
#include "runner/engine/row_draws.h"
#include "runner/engine/scheduler.h"
#include "runner/engine/step_rows.h"

namespace deepserve::runner {

// Keeps its memory from step to step.
class StepBatch {
 public:
  // Both must outlive the batch.
  StepBatch(Backend& backend, const DrawRule& rule) : backend_(backend), draws_(rule) {}

  // Entry i is chunk i of `plan`, whose sequences must not change before start() has returned.
  void build(const StepPlan& plan, const BlockPool& pool);
  // Copies the plan's blocks, then has the backend start the model. Errors are the backend's.
  Result<void> start(const StepPlan& plan);

  // All that is wanted of the step is a token for each sequence that comes to its end, and nothing but the
  // token says what is to be asked next.
  bool gives_tokens_alone() const { return gives_tokens_alone_; }
  // Logits or hidden states are to come here.
  bool gives_values() const { return rows_ > 0 || hidden_values_ > 0; }
  // Of chunk `i` of a step that gives tokens alone: the number of its token among all that the step draws;
  // none: it does not come to its sequence's end.
  std::optional<uint32_t> drawn_token(size_t i) const {
    if (!places_[i].is_drawn) return std::nullopt;
    return static_cast<uint32_t>(places_[i].token_begin);
  }

  // From here on: once the step is over.

  // The rows of the last tokens of chunk `i`; none when it asked for none.
  StepRows rows(size_t i);
  // The hidden states [tokens, embedding] of chunk `i`; empty when it did not ask for them.
  std::span<const float> hidden(size_t i) const;

 private:
  size_t vocabulary() const { return backend_.info().vocabulary; }
  static bool gives_token_alone(const Sequence& sequence, const BatchEntry& entry, bool is_drawn);
  void take_draws();
  void make_room();

  struct Place {
    size_t row_begin;     // of logits
    size_t hidden_begin;  // in values
    bool is_drawn;
    size_t drawn_begin;  // of rows that are drawn from
    size_t token_begin;  // of drawn tokens
  };

  Backend& backend_;
  std::vector<BatchEntry> entries_;
  std::vector<Place> places_;  // [entries]
  RowDraws draws_;
  bool gives_tokens_alone_ = false;
  size_t rows_ = 0;  // of logits
  size_t hidden_values_ = 0;
  std::vector<float> logits_;
  std::vector<float> largest_;
  std::vector<float> sums_;
  std::vector<float> hidden_;
  std::vector<DrawnRow> drawn_rows_;
  std::vector<DrawnToken> drawn_tokens_;
};

}  // namespace deepserve::runner
