// When to try again after a refusal: exponential back-off with jitter, or when the daemon said so.
//
// Pure: randomness and waiting are given by the caller.
// Tried again: answers whose row in the error table says that the same request may succeed later (503, 502,
// 408), unless the answer says that it would not. Not tried again: a daemon that cannot be reached. Under
// systemd its sockets exist while it starts, so a refused connection means that nobody will listen soon, and
// a script wants to hear that at once.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "ipc/base/result.h"

namespace deepserve::ctl {

// Why one try failed, and when the daemon said to come back, if it did.
struct Failure {
  Error error;
  std::optional<uint64_t> retry_after_ms;
  bool retry_is_useless = false;  // the daemon said that the same request would fail the same way
};

struct RetryPolicy {
  unsigned tries_max = 5;            // 1: no repetition at all
  double backoff_max_s = 30;         // cap of our own back-off
  double asked_wait_max_s = 5 * 60;  // a daemon that asks for more than this is not waited for
};

// min(2^repetition + unit_random, backoff_max_s); `repetition` counts from 0, `unit_random` is in [0, 1).
double backoff_s(unsigned repetition, double unit_random, const RetryPolicy& policy);

class RetrySchedule {
 public:
  // `unit_random` draws from [0, 1).
  RetrySchedule(RetryPolicy policy, std::function<double()> unit_random);

  // Seconds to wait before the next try: what the daemon asked for, else our back-off. Nothing when the
  // failure is final or the tries are used up.
  std::optional<double> next_wait_s(const Failure& failure);

  // The number of the try that the last wait leads to, counted from 1.
  unsigned next_try() const { return repetitions_ + 1; }
  const RetryPolicy& policy() const { return policy_; }

 private:
  RetryPolicy policy_;
  std::function<double()> unit_random_;
  unsigned repetitions_ = 0;
};

// Runs `attempt` until it succeeds (returns nothing) or the schedule gives up, and returns the last failure.
// `wait` waits that many seconds and returns false when the user no longer wants the answer.
using Attempt = std::function<std::optional<Failure>()>;
using Wait = std::function<bool(double wait_s, const Failure& failure)>;
std::optional<Failure> run_with_retries(RetrySchedule& schedule, const Wait& wait, const Attempt& attempt);

}  // namespace deepserve::ctl
