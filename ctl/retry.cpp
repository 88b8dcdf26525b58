#include "ctl/retry.h"

#include <algorithm>
#include <cmath>

namespace deepserve::ctl {

double backoff_s(unsigned repetition, double unit_random, const RetryPolicy& policy) {
  return std::min(std::exp2(static_cast<double>(repetition)) + unit_random, policy.backoff_max_s);
}

RetrySchedule::RetrySchedule(RetryPolicy policy, std::function<double()> unit_random)
    : policy_(policy), unit_random_(std::move(unit_random)) {}

std::optional<double> RetrySchedule::next_wait_s(const Failure& failure) {
  const Code code = failure.error.code;
  if (!error_row(code).retryable || failure.retry_is_useless || code == Code::kUnreachable)
    return std::nullopt;
  if (repetitions_ + 1 >= policy_.tries_max) return std::nullopt;
  double wait_s = 0;
  if (failure.retry_after_ms) {
    wait_s = static_cast<double>(*failure.retry_after_ms) / 1000.0;
    if (wait_s > policy_.asked_wait_max_s) return std::nullopt;
  } else {
    wait_s = backoff_s(repetitions_, unit_random_(), policy_);
  }
  ++repetitions_;
  return wait_s;
}

std::optional<Failure> run_with_retries(RetrySchedule& schedule, const Wait& wait, const Attempt& attempt) {
  for (;;) {
    std::optional<Failure> failure = attempt();
    if (!failure) return std::nullopt;
    const std::optional<double> wait_s = schedule.next_wait_s(*failure);
    if (!wait_s) return failure;
    if (!wait(*wait_s, *failure)) return Failure{Error{Code::kCancelled, "interrupted"}, std::nullopt};
  }
}

}  // namespace deepserve::ctl
