#include "runner/engine/step_budget.h"

#include <algorithm>

namespace deepserve::runner {
namespace {

constexpr uint32_t kBesideTokensMin = 16;
constexpr double kBesideGrowth = 1.15;       // from one step to the next
constexpr double kTargetMargin = 0.02;       // what a step_target shorter than decoding may take of the share
constexpr uint32_t kTypicalPosition = 2048;  // at which prices are compared
constexpr double kScoringWeight = 0.2;
constexpr double kScoringShare = 0.5;  // of step_seconds_max, on top of the model's own time

}  // namespace

StepBudget::StepBudget(const EngineOptions& options, uint32_t vocabulary)
    : step_tokens_max_(options.step_tokens_max),
      step_seconds_max_(options.step_seconds_max),
      step_target_seconds_(options.step_target_seconds),
      scored_rows_max_(
          static_cast<uint32_t>(std::max<uint64_t>(1, kScoredBytesMax / (sizeof(float) * vocabulary)))) {}

PrefillLimits StepBudget::prefill(uint32_t decodes, uint64_t context_tokens, uint32_t prefills) const {
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
  }
  return limits;
}

double StepBudget::prefill_seconds(uint32_t decodes, uint64_t context_tokens, uint32_t prefills) const {
  const double decode_seconds = speed_.decode_seconds(decodes, context_tokens);
  if (decodes == 0 || step_target_seconds_ <= 0) return step_seconds_max_;
  if (decode_seconds <= 0) return std::min(step_target_seconds_, step_seconds_max_);  // not measured yet
  const double crowd = std::max(1.0, static_cast<double>(prefills) / decodes);
  const double share = decode_share();
  const double limit =
      std::max(std::min(step_target_seconds_, step_seconds_max_), (share - kTargetMargin) * decode_seconds);
  return std::min(share * crowd * decode_seconds, limit);
}

// With a share s of the time of decoding, prefill that is d times as dear as alone takes d (1 + s) / s as
// long.
double StepBudget::decode_share() const {
  const double dearer = speed_.prefill_price(true).of(kTypicalPosition, 1) /
                        speed_.prefill_price(false).of(kTypicalPosition, 1);
  if (dearer >= kFirstTokenRatio) return kDecodeShareMax;
  return std::clamp(dearer / (kFirstTokenRatio - dearer), kDecodeShareMin, kDecodeShareMax);
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
