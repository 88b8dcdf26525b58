#include "runner/engine/prefill_cost.h"

#include <algorithm>
#include <cmath>

namespace deepserve::runner {
namespace {

constexpr double kRounding = 0.4;  // where a step has room for two tokens, the half of one is a quarter of it
constexpr double kKeepGrowth = 0.98;  // about the last 50
constexpr double kSpreadMin = 128;    // standard deviation of positions that tells growth from noise
constexpr double kGrowthMax = 1.0 / 64;

}  // namespace

// The root of pair / 2 n^2 + (token + pair position) n = cost.
uint32_t PrefillPrice::affordable(double cost, uint32_t position, uint32_t tokens_max) const {
  if (cost <= 0) return 0;
  const double first = token + pair * position;
  const double n = 2 * cost / (first + std::sqrt(first * first + 2 * pair * cost));
  return n >= tokens_max ? tokens_max : static_cast<uint32_t>(n + kRounding);
}

void PrefillCost::add(uint32_t tokens, double pairs, double seconds) {
  if (measured()) {
    const double known = seconds_ / (tokens_ + growth_ * pairs_) * (tokens + growth_ * pairs);
    seconds = outliers_.add(seconds / known) * known;
  }
  tokens_ = tokens_ * keep_ + tokens;
  pairs_ = pairs_ * keep_ + pairs;
  seconds_ = seconds_ * keep_ + seconds;
  const double position = pairs / tokens;
  for (double* sum : {&weight_, &positions_, &positions_squared_, &costs_, &products_}) *sum *= kKeepGrowth;
  weight_ += tokens;
  positions_ += pairs;
  positions_squared_ += pairs * position;
  costs_ += seconds;
  products_ += seconds * position;
  fit_growth();
}

void PrefillCost::fit_growth() {
  const double mean = positions_ / weight_;
  const double variance = positions_squared_ / weight_ - mean * mean;
  if (variance < kSpreadMin * kSpreadMin) return;
  const double slope = (products_ / weight_ - mean * costs_ / weight_) / variance;
  const double at_zero = costs_ / weight_ - slope * mean;
  if (at_zero <= 0) return;
  growth_ = std::clamp(slope / at_zero, 0.0, kGrowthMax);
  growth_known_ = true;
}

PrefillPrice PrefillCost::price(double growth) const {
  const double token = seconds_ / (tokens_ + growth * pairs_);
  return {token, token * growth};
}

}  // namespace deepserve::runner
