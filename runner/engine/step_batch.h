// One step's batch: what its chunks ask of the backend, and what it computed for each of them.
#pragma once

#include <span>
#include <vector>

#include "runner/backend/backend.h"
#include "runner/engine/logits_rows.h"
#include "runner/engine/scheduler.h"

namespace deepserve::runner {

// Keeps its memory from step to step.
class StepBatch {
 public:
  // `backend` must outlive the batch.
  explicit StepBatch(Backend& backend) : backend_(backend) {}

  // Entry i is chunk i of `plan`, whose sequences must not change before run() has returned.
  void build(const StepPlan& plan, const BlockPool& pool);
  // Copies the plan's blocks, then runs the model. Errors are the backend's.
  Result<void> run(const StepPlan& plan);

  // The logits of the last tokens of chunk `i`; no rows when it asked for none.
  LogitsRows logits(size_t i);
  // The hidden states [tokens, embedding] of chunk `i`; empty when it did not ask for them.
  std::span<const float> hidden(size_t i) const;

 private:
  size_t vocabulary() const { return backend_.info().vocabulary; }

  struct Place {
    size_t row_begin;     // of logits
    size_t hidden_begin;  // in values
  };

  Backend& backend_;
  std::vector<BatchEntry> entries_;
  std::vector<Place> places_;  // [entries]
  size_t rows_ = 0;            // of logits
  size_t hidden_values_ = 0;
  std::vector<float> logits_;
  std::vector<float> largest_;
  std::vector<float> sums_;
  std::vector<float> hidden_;
};

}  // namespace deepserve::runner
