// What steps cost on this device, learnt from the steps themselves: the figures that admission predicts with.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "runner/engine/prefill_cost.h"

namespace deepserve::runner {

// t(b, ctx) = a0 + a1 b + a2 ctx: the time of a step that decodes b sequences with ctx tokens of context in
// all.
struct StepTimes {
  double fixed_seconds = 0;
  double per_sequence_seconds = 0;
  double per_context_token_seconds = 0;
};

// One measured step.
struct StepMeasure {
  uint32_t decodes = 0;
  uint64_t context_tokens = 0;  // of the decodes, together
  uint32_t prefill_tokens = 0;
  double prefill_pairs = 0;  // see PrefillPrice
  double seconds = 0;
};

class SpeedModel {
 public:
  static constexpr uint32_t kPrefillTokensMin = 8;  // fewer say little about prefill's speed

  void add(const StepMeasure& step);

  // An average over the recent prefills, what decoding beside them costs taken off; 0 until measured.
  double prefill_tokens_per_second() const { return recent_.tokens_per_second(); }
  // Of prefill that has a step for itself, or shares it with decodes: weights that are read anyway make it
  // cheaper beside them. Nothing measured: no price.
  bool prefill_measured() const { return recent_.measured(); }
  PrefillPrice prefill_price(bool beside_decodes) const;
  // About how much of it the recent steps with decodes had: what it costs is known for so much alone, the
  // first tokens may come with weights that are read anyway.
  uint32_t beside_tokens() const { return static_cast<uint32_t>(beside_tokens_); }
  const StepTimes& step_times() const { return times_; }
  // Of a step without prefill, near those that were measured last; 0 until measured.
  double decode_seconds(uint32_t decodes, uint64_t context_tokens) const;
  // By how much about one in a hundred of the recent steps without prefill took longer than that; 0 until
  // known.
  double decode_jitter_seconds() const { return jitter_; }
  // Steps in a row whose decodes had prefill beside them: what decoding takes is known from before those.
  uint32_t steps_beside() const { return steps_beside_; }

 private:
  double fitted(uint32_t decodes, uint64_t context_tokens) const;
  void add_decode(const StepMeasure& step);
  void add_jitter(double excess_seconds);
  void fit();

  PrefillCost alone_{0.8};
  PrefillCost beside_{0.6};  // a step's time is more than the sum of its parts: what was last is what counts
  PrefillCost recent_{0.8};  // both
  double beside_tokens_ = 0;
  StepTimes times_;
  // Least squares with exponential forgetting: the normal equations of (1, b / 16, ctx / 4096).
  std::array<std::array<double, 3>, 3> products_{};
  std::array<double, 3> targets_{};
  uint64_t decode_steps_ = 0;
  double decode_bias_ = 1;  // measured / fitted, of the last steps
  OutlierFilter outliers_;  // of that
  uint32_t steps_beside_ = 0;
  static constexpr size_t kExcesses = 128;
  std::array<float, kExcesses> excesses_{};  // in seconds, of the last decode steps
  uint64_t excess_count_ = 0;
  double jitter_ = 0;
};

}  // namespace deepserve::runner
