// What steps cost on this device, learnt from the steps themselves: the figures that admission predicts with.
#pragma once

#include <array>
#include <cstdint>

namespace deepserve::runner {

// t(b, ctx) = a0 + a1 b + a2 ctx: the time of a step that decodes b sequences with ctx tokens of context in
// all.
struct StepTimes {
  double fixed_seconds = 0;
  double per_sequence_seconds = 0;
  double per_context_token_seconds = 0;
};

class SpeedModel {
 public:
  static constexpr uint32_t kPrefillTokensMin = 8;  // fewer in a step say little about prefill: not counted

  // One measured step: decodes, their context tokens together, tokens of prefill.
  void add(uint32_t decodes, uint64_t context_tokens, uint32_t prefill_tokens, double seconds);

  // An average over the recent prefills, what decoding beside them costs taken off; 0 until measured.
  double prefill_tokens_per_second() const { return prefill_tokens_per_second_; }
  const StepTimes& step_times() const { return times_; }

 private:
  void fit();

  double prefill_tokens_per_second_ = 0;
  StepTimes times_;
  // Least squares with exponential forgetting: the normal equations of (1, b / 16, ctx / 4096).
  std::array<std::array<double, 3>, 3> products_{};
  std::array<double, 3> targets_{};
  uint32_t since_fit_ = 0;
};

}  // namespace deepserve::runner
