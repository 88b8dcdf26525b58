#include "runner/engine/step_budget.h"

#include <algorithm>

namespace deepserve::runner {
namespace {

constexpr uint32_t kBesideTokensMin = 16;
constexpr double kBesideGrowth = 1.15;       // from one step to the next
constexpr double kTargetMargin = 0.02;       // what a step_target shorter than decoding may take of the share
constexpr uint32_t kTypicalPosition = 2048;  // at which prices are compared
constexpr uint32_t kStaleSteps = 24;         // a step without prefill in so many takes 2 % of its time
constexpr double kScoringWeight = 0.2;
constexpr double kScoringShare = 0.5;  // of step_seconds_max, on top of the model's own time

}  // namespace

StepBudget::StepBudget(const EngineOptions& options, uint32_t vocabulary)
    : step_tokens_max_(options.step_tokens_max),
      step_seconds_max_(options.step_seconds_max),
      step_target_seconds_(options.step_target_seconds),
      scored_rows_max_(
          static_cast<uint32_t>(std::max<uint64_t>(1, kScoredBytesMax / (sizeof(float) * vocabulary)))) {}

PrefillLimits StepBudget::prefill(uint32_t decodes, uint64_t context_tokens, uint32_t prefills,
                                  double freed_seconds) const {
  PrefillLimits limits;
  limits.scored_rows = scored_rows();
  limits.cost = step_tokens_max_;
  limits.tokens_max = step_tokens_max_;
  if (step_seconds_max_ <= 0) return limits;
  if (!speed_.prefill_measured() || decodes == 0) {
    limits.tokens_min = std::min(step_tokens_max_, SpeedModel::kPrefillTokensMin);  // to be measured by
  }
  if (!speed_.prefill_measured()) {
    limits.cost = limits.tokens_min;
    return limits;
  }
  limits.price = speed_.prefill_price(decodes > 0);
  limits.cost = prefill_seconds(decodes, context_tokens, prefills);
  if (decodes > 0) {
    const double known = kBesideGrowth * std::max(kBesideTokensMin, speed_.beside_tokens());
    limits.tokens_max = std::min(step_tokens_max_, static_cast<uint32_t>(known));
    limits.stale = step_target_seconds_ > 0 && speed_.steps_beside() >= kStaleSteps;
    if (freed_seconds > 0) add_freed(freed_seconds, limits);
  }
  return limits;
}

// So much prefill beside decodes may never have been measured: it is taken to cost what it costs alone, if
// that is more. Where it comes to no more tokens than without, nothing changes.
void StepBudget::add_freed(double freed_seconds, PrefillLimits& limits) const {
  const PrefillPrice alone = speed_.prefill_price(false);
  const PrefillPrice price = alone.token > limits.price.token ? alone : limits.price;
  const double cost = limits.cost + freed_seconds;
  if (cost * limits.price.token <=
      std::min(limits.cost, limits.tokens_max * limits.price.token) * price.token)
    return;
  limits.cost = cost;
  limits.price = price;
  limits.tokens_max = step_tokens_max_;
}

double StepBudget::freed_seconds(uint32_t decodes, uint64_t context_tokens, uint32_t left,
                                 uint64_t left_context_tokens) const {
  const double all = speed_.decode_seconds(decodes, context_tokens);
  return std::max(0.0, std::min(all, step_seconds_max_) - speed_.decode_seconds(left, left_context_tokens));
}

double StepBudget::prefill_seconds(uint32_t decodes, uint64_t context_tokens, uint32_t prefills) const {
  const double decode_seconds = speed_.decode_seconds(decodes, context_tokens);
  if (decodes == 0 || step_target_seconds_ <= 0) return step_seconds_max_;
  if (decode_seconds <= 0) return std::min(step_target_seconds_, step_seconds_max_);  // not measured yet
  const double crowd = std::max(1.0, static_cast<double>(prefills) / decodes);
  const double share = decode_share(decode_seconds);
  const double limit =
      std::max(std::min(step_target_seconds_, step_seconds_max_), (share - kTargetMargin) * decode_seconds);
  return std::min(share * crowd * decode_seconds, limit);
}

// With a share s of the time of decoding, prefill that is d times as dear as alone takes d (1 + s) / s as
// long.
double StepBudget::decode_share(double decode_seconds) const {
  const uint32_t tokens = std::clamp(speed_.beside_tokens(), 1u, step_tokens_max_);
  const double beside = speed_.prefill_price(true).of(kTypicalPosition, tokens) / tokens;
  const double alone = speed_.prefill_price(false).of(kTypicalPosition, step_tokens_max_) / step_tokens_max_;
  const double dearer = beside / alone;
  const auto share_for = [&](double ratio, double most) {
    if (dearer >= ratio) return most;
    return std::clamp(dearer / (ratio - dearer), kDecodeShareMin, most);
  };
  const double jitter = kJitterShare * std::min(1.0, speed_.decode_jitter_seconds() / decode_seconds);
  const double even = share_for(kFirstTokenRatio, kDecodeShareMax);
  return std::min(even + jitter, std::max(even, share_for(kFirstTokenRatioUneven, kDecodeShareMax + jitter)));
}

uint32_t StepBudget::scored_rows() const {
  if (step_seconds_max_ <= 0) return scored_rows_max_;
  if (scored_row_seconds_ <= 0) return std::min(scored_rows_max_, kScoredRowsFirst);
  const double affordable = kScoringShare * step_seconds_max_ / scored_row_seconds_;
  if (affordable >= scored_rows_max_) return scored_rows_max_;
  return std::max(1u, static_cast<uint32_t>(affordable));
}

void StepBudget::add_scoring(uint32_t rows, double seconds) {
  if (rows == 0) return;
  const double weight = scored_row_seconds_ == 0 ? 1.0 : kScoringWeight;
  scored_row_seconds_ += weight * (seconds / rows - scored_row_seconds_);
}

}  // namespace deepserve::runner
