#include "runner/engine/speculation.h"

#include <algorithm>
#include <cmath>

namespace deepserve::runner {
namespace {

constexpr double kSecondsWeight = 0.2;
constexpr double kOutlier = 2.0;          // a step that took so many times as long says little
constexpr uint32_t kMeasurementsMin = 2;  // the smallest counts until then
constexpr double kFade = 0.999;           // a step: what was slow once is tried again some time
constexpr uint64_t kFreshSteps = 128;
constexpr double kRowGuess = 0.02;  // of a step, for each row beyond what was measured
constexpr double kHitWeight = 0.1;
constexpr double kGainMin = 1.05;  // less is lost in the noise of the measurements
constexpr std::array<uint32_t, 4> kLengths = {1, 3, 7, 15};

}  // namespace

void StepCosts::add(uint32_t rows, double seconds) {
  ++steps_;
  if (rows == 0 || rows > kRowsMax) return;
  Measured& measured = of_rows_[rows];
  measured.step = steps_;
  if (++measured.count <= kMeasurementsMin) {
    measured.seconds = measured.count == 1 ? seconds : std::min(measured.seconds, seconds);
    return;
  }
  measured.seconds += kSecondsWeight * (std::min(seconds, kOutlier * measured.seconds) - measured.seconds);
}

double StepCosts::faded(uint32_t rows) const {
  const Measured& measured = of_rows_[rows];
  return measured.seconds * std::pow(kFade, static_cast<double>(steps_ - measured.step));
}

bool StepCosts::is_fresh(uint32_t rows) const {
  if (rows > kRowsMax) return false;
  const Measured& measured = of_rows_[rows];
  return measured.count >= kMeasurementsMin && steps_ - measured.step <= kFreshSteps;
}

double StepCosts::seconds(uint32_t rows) const {
  if (rows > kRowsMax) return 0;
  if (of_rows_[rows].count >= kMeasurementsMin) return faded(rows);
  uint32_t below = rows, above = rows;
  while (below > 0 && of_rows_[below].count < kMeasurementsMin) --below;
  while (above <= kRowsMax && of_rows_[above].count < kMeasurementsMin) ++above;
  if (below == 0) return 0;
  const double least = faded(below);
  if (above > kRowsMax) return least * (1 + kRowGuess * (rows - below));
  const double share = static_cast<double>(rows - below) / (above - below);
  return least + share * (faded(above) - least);
}

double DraftHistory::hit_rate(uint32_t match_tokens) const {
  return match_tokens == 0 ? 0 : rates_[match_tokens - 1];
}

void DraftHistory::add(uint32_t match_tokens, bool hit) {
  if (match_tokens == 0) return;
  double& rate = rates_[match_tokens - 1];
  rate += kHitWeight * ((hit ? 1.0 : 0.0) - rate);
}

double expected_hits(double hit_rate, uint32_t tokens) {
  double sum = 0, all_right = 1;
  for (uint32_t i = 0; i < tokens; ++i) sum += all_right *= hit_rate;
  return sum;
}

void DraftPlanner::begin(uint32_t sequences, bool always) {
  always_ = always;
  ready_ = sequences > 0 && costs_.is_fresh(sequences);
  rows_ = sequences;
  drafted_ = 0;
  expected_tokens_ = sequences;
  rate_without_ = ready_ ? sequences / costs_.seconds(sequences) : 0;
}

uint32_t DraftPlanner::tokens(double hit_rate, uint32_t tokens_max) const {
  tokens_max = std::min(tokens_max, kRowsMax - drafted_);
  if (always_) return tokens_max;
  if (!ready_) return 0;
  uint32_t best = 0;
  double best_rate =
      std::max(rate_without_ * kGainMin, drafted_ > 0 ? expected_tokens_ / costs_.seconds(rows_) : 0);
  for (const uint32_t length : kLengths) {
    if (length > tokens_max) break;
    const double seconds = costs_.seconds(rows_ + length);
    if (seconds <= 0) break;
    const double rate = (expected_tokens_ + expected_hits(hit_rate, length)) / seconds;
    if (rate <= best_rate) continue;
    best = length;
    best_rate = rate;
  }
  return best;
}

void DraftPlanner::add(uint32_t tokens, double hit_rate) {
  rows_ += tokens;
  drafted_ += tokens;
  expected_tokens_ += expected_hits(hit_rate, tokens);
}

}  // namespace deepserve::runner
