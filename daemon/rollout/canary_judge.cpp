#include "daemon/rollout/canary_judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace deepserve::daemon {
namespace {

double mean_of(const auto& parts) {
  return std::accumulate(parts.begin(), parts.end(), 0.0) / static_cast<double>(parts.size());
}

}  // namespace

void RankBet::add(double rank) {
  for (size_t i = 0; i < kStakes.size(); ++i) parts_[i] *= 1 + kStakes[i] * (2 * rank - 1);
  wealth_ = mean_of(parts_);
  sum_ += rank;
  ++count_;
}

// The canary's answer among the live ones that came since the last of its kind: each live one is used once,
// so that ranks of answers that are equally fast are independent, and each as likely.
void CanaryJudge::Speed::add(const CanarySample& sample, double value_s) {
  if (value_s <= 0) return;
  auto& pool = live[2 * static_cast<size_t>(sample.service_class) + (sample.cached ? 1 : 0)];
  if (!sample.of_canary) {
    live_sum += value_s;
    ++live_count;
    pool.push_back(value_s);
    if (pool.size() > kPoolMax) pool.pop_front();
    return;
  }
  canary_sum += value_s;
  ++canary_count;
  if (pool.empty() || (ranked_ns != 0 && sample.at_ns - ranked_ns < kApart_ns)) return;
  ranked_ns = sample.at_ns;
  const double excused_s = std::min(value_s / kTolerance, value_s - tolerance_s);
  double below = 0;
  for (const double other_s : pool) below += other_s < excused_s ? 1.0 : other_s == excused_s ? 0.5 : 0.0;
  bet.add(below / static_cast<double>(pool.size()));
  pool.clear();
}

// Whose failure it was, against the part of the requests that were the canary's up to now.
void CanaryJudge::add_failure(bool of_canary) {
  const double part = (canary_.requests + 1.0) / (canary_.requests + live_.requests + 2.0);
  for (size_t i = 0; i < kRatios.size(); ++i) {
    const double likely = kRatios[i] * part / (kRatios[i] * part + 1 - part);
    failure_parts_[i] *= of_canary ? likely / part : (1 - likely) / (1 - part);
  }
}

void CanaryJudge::add(const CanarySample& sample) {
  if (sample.failed) add_failure(sample.of_canary);
  auto& arm = sample.of_canary ? canary_ : live_;
  ++arm.requests;
  if (arm.first_ns == 0) arm.first_ns = sample.at_ns;
  arm.last_ns = sample.at_ns;
  arm.failed += sample.failed ? 1 : 0;
  ttft_.add(sample, sample.ttft_s);
  itl_.add(sample, sample.itl_s);
}

CanaryJudge::Verdict CanaryJudge::verdict() const {
  const double speed = std::max(ttft_.bet.wealth(), itl_.bet.wealth());
  if (mean_of(failure_parts_) >= 1 / kFailureAlpha || speed >= 1 / kSpeedAlpha) return Verdict::kWorse;
  const bool is_tried = canary_.requests >= requests_ && canary_.last_ns - canary_.first_ns >= kTried_ns;
  return is_tried ? Verdict::kAsGood : Verdict::kOpen;
}

std::string CanaryJudge::evidence() const {
  const auto p_of = [](double wealth) { return std::min(1.0, 1 / std::max(wealth, 1e-9)); };
  const auto speed = [&](const Speed& of) {
    const auto mean_ms = [](double sum, double count) { return count == 0 ? 0.0 : 1e3 * sum / count; };
    return fmt::format("{:.1f} ms on average against {:.1f} ms, rank {:.2f} of 1 in {:.0f}, p {:.3g}",
                       mean_ms(of.canary_sum, of.canary_count), mean_ms(of.live_sum, of.live_count),
                       of.bet.mean_rank(), of.bet.count(), p_of(of.bet.wealth()));
  };
  return fmt::format("{} of its {} requests failed against {} of {}, p {:.3g}; ttft {}; itl {}",
                     canary_.failed, canary_.requests, live_.failed, live_.requests,
                     p_of(mean_of(failure_parts_)), speed(ttft_), speed(itl_));
}

}  // namespace deepserve::daemon
