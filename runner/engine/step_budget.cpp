#include "runner/engine/step_budget.h"

#include <algorithm>

namespace deepserve::runner {
namespace {

constexpr double kScoringWeight = 0.2;
constexpr double kScoringShare = 0.5;  // of prefill_seconds_max, on top of the model's own time

}  // namespace

StepBudget::StepBudget(const EngineOptions& options, uint32_t vocabulary)
    : step_tokens_max_(options.step_tokens_max),
      prefill_seconds_max_(options.prefill_seconds_max),
      scored_rows_max_(
          static_cast<uint32_t>(std::max<uint64_t>(1, kScoredBytesMax / (sizeof(float) * vocabulary)))) {}

uint32_t StepBudget::prefill_tokens() const {
  if (prefill_seconds_max_ <= 0) return step_tokens_max_;
  const double affordable = speed_.prefill_tokens_per_second() * prefill_seconds_max_;
  if (affordable >= step_tokens_max_) return step_tokens_max_;
  return std::max(SpeedModel::kPrefillTokensMin, static_cast<uint32_t>(affordable));
}

uint32_t StepBudget::scored_rows() const {
  if (prefill_seconds_max_ <= 0) return scored_rows_max_;
  if (scored_row_seconds_ <= 0) return std::min(scored_rows_max_, kScoredRowsFirst);
  const double affordable = kScoringShare * prefill_seconds_max_ / scored_row_seconds_;
  if (affordable >= scored_rows_max_) return scored_rows_max_;
  return std::max(1u, static_cast<uint32_t>(affordable));
}

void StepBudget::add_scoring(uint32_t rows, double seconds) {
  if (rows == 0) return;
  const double weight = scored_row_seconds_ == 0 ? 1.0 : kScoringWeight;
  scored_row_seconds_ += weight * (seconds / rows - scored_row_seconds_);
}

}  // namespace deepserve::runner
