// Which sequences of a step get drafts to check, and how long ones: as much as pays by what was learnt.
//
// A draft of k tokens makes the step run k more rows. What steps of so many rows take is measured, and how
// often a sequence's drafts come true is learnt even while none is run: each token that is sampled is
// compared with what would have been proposed. A draft is added where the step is expected to give clearly
// more tokens a second with it than without. So text that never repeats itself costs its lookups alone, and
// where more rows take as much longer as they give (large batches, a device at the limit of its arithmetic)
// nothing is drafted. Steps that prefill get no drafts: their rows are not free.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runner/engine/draft.h"

namespace deepserve::runner {

// What steps without prefill take, by the number of their rows.
class StepCosts {
 public:
  static constexpr uint32_t kRowsMax = 128;  // steps of more are not looked at

  void add(uint32_t rows, double seconds);

  // Expected seconds. Rows that were never measured are taken to be between their neighbours, and beyond the
  // largest that was, to cost little: so they are tried. 0: nothing is known.
  double seconds(uint32_t rows) const;
  // Measured lately: what is expected without drafts must be no old wives' tale.
  bool is_fresh(uint32_t rows) const;

 private:
  struct Measured {
    double seconds = 0;
    uint32_t count = 0;
    uint64_t step = 0;  // of the last measurement
  };
  double faded(uint32_t rows) const;

  std::array<Measured, kRowsMax + 1> of_rows_{};
  uint64_t steps_ = 0;
};

// What one sequence's drafts are worth.
class DraftHistory {
 public:
  // How likely the first token of a draft is right, after a match of so many; each further one, if those
  // before it were.
  double hit_rate(uint32_t match_tokens) const;
  void add(uint32_t match_tokens, bool hit);

 private:
  std::array<double, DraftMatch::kTokensMax> rates_ = {0.0, 0.02, 0.1};  // [match.tokens - 1]
};

class DraftPlanner {
 public:
  static constexpr uint32_t kRowsMax =
      15;  // drafted tokens of a step, which bounds the memory of their logits

  explicit DraftPlanner(const StepCosts& costs) : costs_(costs) {}

  // A step that decodes `sequences`, before any draft. `always`: whatever drafts cost.
  void begin(uint32_t sequences, bool always = false);
  // How many tokens to draft for the next sequence, at most `tokens_max`, each with chance `hit_rate`.
  uint32_t tokens(double hit_rate, uint32_t tokens_max) const;
  // So many are drafted.
  void add(uint32_t tokens, double hit_rate);

 private:
  const StepCosts& costs_;
  bool ready_ = false;
  bool always_ = false;
  uint32_t rows_ = 0;
  uint32_t drafted_ = 0;
  double expected_tokens_ = 0;
  double rate_without_ = 0;  // tokens a second
};

// Tokens that a draft of `tokens` is expected to add.
double expected_hits(double hit_rate, uint32_t tokens);

}  // namespace deepserve::runner
