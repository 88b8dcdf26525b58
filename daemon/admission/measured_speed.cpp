#include "daemon/admission/measured_speed.h"

#include <algorithm>
#include <cmath>

namespace deepserve::daemon {
namespace {

// What a runner claims, or 0 where it is no time or speed at all.
double sane(double value, double max) {
  return std::isfinite(value) && value > 0 ? std::min(value, max) : 0;
}

// Figures that rest on nothing yet are better than none.
double weight_of(double tokens, double half_tokens) {
  return 1 + std::min(tokens, MeasuredSpeed::kEvidenceMax * half_tokens);
}

double own_part(bool own, bool siblings, double tokens, double half_tokens) {
  if (!own || !siblings) return own ? 1 : 0;
  return (1 + tokens) / (1 + tokens + half_tokens);
}

}  // namespace

MeasuredSpeed measured_by(const ipc::Gauges& gauges) {
  const double prefill_per_second = sane(gauges.prefill_tokens_per_second, 1e9);
  const uint64_t cached = std::min(gauges.prompt_tokens_total, gauges.prefix_hits_total);
  return {.prefill_token_s = prefill_per_second > 0 ? 1 / prefill_per_second : 0,
          .step_fixed_s = sane(gauges.step_fixed_seconds, 60),
          .step_per_sequence_s = sane(gauges.step_per_sequence_seconds, 60),
          .step_per_context_token_s = sane(gauges.step_per_context_token_seconds, 1),
          .prefilled_tokens = static_cast<double>(gauges.prompt_tokens_total - cached),
          .decoded_tokens = static_cast<double>(gauges.generated_tokens_total)};
}

MeasuredSpeed shrunk(const MeasuredSpeed& own, const MeasuredSpeed& siblings) {
  const double prefill = own_part(own.knows_prefill(), siblings.knows_prefill(), own.prefilled_tokens,
                                  MeasuredSpeed::kHalfPrefill_tokens);
  const double decode = own_part(own.knows_decode(), siblings.knows_decode(), own.decoded_tokens,
                                 MeasuredSpeed::kHalfDecode_tokens);
  const auto between = [](double part, double a, double b) { return b + part * (a - b); };
  auto blend = own;
  blend.prefill_token_s = between(prefill, own.prefill_token_s, siblings.prefill_token_s);
  blend.step_fixed_s = between(decode, own.step_fixed_s, siblings.step_fixed_s);
  blend.step_per_sequence_s = between(decode, own.step_per_sequence_s, siblings.step_per_sequence_s);
  blend.step_per_context_token_s =
      between(decode, own.step_per_context_token_s, siblings.step_per_context_token_s);
  return blend;
}

void SpeedMean::add(const MeasuredSpeed& one) {
  if (one.knows_prefill()) {
    const double weight = weight_of(one.prefilled_tokens, MeasuredSpeed::kHalfPrefill_tokens);
    prefill_weight_ += weight;
    sum_.prefill_token_s += weight * one.prefill_token_s;
    sum_.prefilled_tokens += one.prefilled_tokens;
  }
  if (one.knows_decode()) {
    const double weight = weight_of(one.decoded_tokens, MeasuredSpeed::kHalfDecode_tokens);
    decode_weight_ += weight;
    sum_.step_fixed_s += weight * one.step_fixed_s;
    sum_.step_per_sequence_s += weight * one.step_per_sequence_s;
    sum_.step_per_context_token_s += weight * one.step_per_context_token_s;
    sum_.decoded_tokens += one.decoded_tokens;
  }
}

MeasuredSpeed SpeedMean::mean(const MeasuredSpeed& before) const {
  auto mean = before;
  if (prefill_weight_ > 0) {
    mean.prefill_token_s = sum_.prefill_token_s / prefill_weight_;
    mean.prefilled_tokens = sum_.prefilled_tokens;
  }
  if (decode_weight_ > 0) {
    mean.step_fixed_s = sum_.step_fixed_s / decode_weight_;
    mean.step_per_sequence_s = sum_.step_per_sequence_s / decode_weight_;
    mean.step_per_context_token_s = sum_.step_per_context_token_s / decode_weight_;
    mean.decoded_tokens = sum_.decoded_tokens;
  }
  return mean;
}

}  // namespace deepserve::daemon
