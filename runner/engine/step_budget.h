// How much prefill a step takes in, so that those who decode beside it are not held up.
#pragma once

#include <cstdint>

#include "runner/engine/engine.h"
#include "runner/engine/speed_model.h"

namespace deepserve::runner {

// What a step may take of prefill.
struct PrefillLimits {
  double cost = 0;  // in the price's unit
  PrefillPrice price;
  uint32_t tokens_min = 1;   // goes in whatever it costs, so that every step gets ahead
  uint32_t tokens_max = 0;   // goes in whatever it seems to cost
  uint32_t scored_rows = 1;  // positions of prompts whose log probabilities are wanted; at least 1
  bool stale = false;  // what decoding takes was not measured for long: a step without prefill would tell
};

class StepBudget {
 public:
  static constexpr uint64_t kScoredBytesMax = 64u << 20;  // of the logits of one step's scored prompts
  static constexpr uint32_t kScoredRowsFirst = 8;         // until it is known what scoring a row takes
  // Beside decodes prefill gets at least this part of the time that they take...
  static constexpr double kDecodeShareMin = 0.8;
  // ... and at most this one: their tokens come at about half the pace while a prompt is prefilled...
  static constexpr double kDecodeShareMax = 0.95;
  // ... and most of what the host makes the slowest of their steps longer by, where it takes cores away now
  // and then: the pace of those steps is still no less than half of what it was.
  static constexpr double kJitterShare = 0.9;
  // In between it is the one that makes the prompt's first token come so many times as late as if it were
  // alone, by what prefill was measured to cost beside decodes and alone.
  static constexpr double kFirstTokenRatio = 2.1;
  // On such a host the steps that the prompt takes are many of those that are made longer, and so this.
  static constexpr double kFirstTokenRatioUneven = 1.8;

  StepBudget(const EngineOptions& options, uint32_t vocabulary);

  // For a step in which `decodes` sequences that are not to be held up decode, with `context_tokens` of
  // context together, while `prefills` sequences want prefill. Where more of them want prefill than decode,
  // the share of their time grows with their number, up to step_target. Until prefill's speed is known:
  // little. On a slow device one full step may take as long as a hang. `freed_seconds`: what decodes of lower
  // classes that sit out for the prefill would have taken of the step; it gets that on top, for those who
  // decode beside it know no shorter steps.
  PrefillLimits prefill(uint32_t decodes, uint64_t context_tokens, uint32_t prefills,
                        double freed_seconds = 0) const;
  // What is freed where of so many decodes, as far as a step has time for them, only `left` go along.
  double freed_seconds(uint32_t decodes, uint64_t context_tokens, uint32_t left,
                       uint64_t left_context_tokens) const;
  // Whether so many decodes alone make a step longer than one may be.
  bool too_long(uint32_t decodes, uint64_t context_tokens) const {
    return step_seconds_max_ > 0 && speed_.decode_seconds(decodes, context_tokens) > step_seconds_max_;
  }

  void add_step(const StepMeasure& step) { speed_.add(step); }
  // What the engine itself took to rank and tell `rows` scored positions.
  void add_scoring(uint32_t rows, double seconds);

  const SpeedModel& speed() const { return speed_; }

 private:
  void add_freed(double freed_seconds, PrefillLimits& limits) const;
  double prefill_seconds(uint32_t decodes, uint64_t context_tokens, uint32_t prefills) const;
  double decode_share(double decode_seconds) const;
  uint32_t scored_rows() const;

  uint32_t step_tokens_max_;
  double step_seconds_max_;     // 0: no limit
  double step_target_seconds_;  // 0: no limit
  uint32_t scored_rows_max_;    // by memory
  double scored_row_seconds_ = 0;
  SpeedModel speed_;
};

}  // namespace deepserve::runner
