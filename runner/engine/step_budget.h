// How much prefill a step takes in, so that those who decode beside it are not held up.
#pragma once

#include <cstdint>

#include "runner/engine/engine.h"
#include "runner/engine/speed_model.h"

namespace deepserve::runner {

class StepBudget {
 public:
  static constexpr uint64_t kScoredBytesMax = 64u << 20;  // of the logits of one step's scored prompts
  static constexpr uint32_t kScoredRowsFirst = 8;         // until it is known what scoring a row takes

  StepBudget(const EngineOptions& options, uint32_t vocabulary);

  // Tokens. Small until the speed is known: on a slow device one full step may take as long as a hang.
  uint32_t prefill_tokens() const;
  // Positions of prompts whose log probabilities are wanted; at least 1.
  uint32_t scored_rows() const;

  void add_step(uint32_t decodes, uint64_t context_tokens, uint32_t prefill_tokens, double seconds) {
    speed_.add(decodes, context_tokens, prefill_tokens, seconds);
  }
  // What the engine itself took to rank and tell `rows` of them.
  void add_scoring(uint32_t rows, double seconds);

  const SpeedModel& speed() const { return speed_; }

 private:
  uint32_t step_tokens_max_;
  double prefill_seconds_max_;  // 0: no limit
  uint32_t scored_rows_max_;    // by memory
  double scored_row_seconds_ = 0;
  SpeedModel speed_;
};

}  // namespace deepserve::runner
