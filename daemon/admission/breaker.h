// The circuit breaker of one generation of a model (DESIGN 7): work is kept away from what only fails. Pure.
//
// kFailuresMax failures in a row open it for kOpen_ns. From kProbe_ns on one request at a time is let through
// as a probe: one that ends well closes the breaker, one that fails opens it anew. Without any verdict until
// kOpen_ns it closes on trial: the next failure opens it again.
//
// A failure is one that the runner or the model is to blame for; a bad request, a cancelled one and a runner
// that was killed from outside are none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "daemon/admission/forward_clock.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

enum class BreakerState : uint8_t {
  kClosed,    // everything passes
  kOpen,      // nothing passes
  kHalfOpen,  // a probe at a time passes
  kCount
};
std::string_view breaker_state_name(BreakerState state);  // "closed", "open", "half_open"

enum class BreakerEvent : uint8_t {
  kSuccess,       // of a request that passed while it was closed
  kFailure,       // of such a one
  kProbeSuccess,  // of the probe
  kProbeFailure,  // of the probe
  kProbeLost,     // the probe ended without a verdict
  kProbeTime,     // kProbe_ns after it opened
  kOver,          // kOpen_ns after it opened
  kCount
};

enum class BreakerRule : uint8_t {
  kIgnore,
  kForget,    // the failures in a row
  kCountOne,  // one more failure in a row; with kFailuresMax of them: kTrip
  kTrip,      // open from now on
  kHalfOpen,  // let a probe through
  kClose,
  kCloseOnTrial,
  kFreeProbe,  // another probe may pass
  kCount
};
BreakerRule breaker_rule(BreakerState state, BreakerEvent event);

class Breaker {
 public:
  static constexpr uint32_t kFailuresMax = 5;
  static constexpr uint64_t kOpen_ns = 30 * kSecond_ns;
  static constexpr uint64_t kProbe_ns = 5 * kSecond_ns;

  enum class Passage : uint8_t { kPasses, kIsProbe, kBlocked };
  // Whether a request may pass now. Of a kIsProbe, tell its end with was_probe.
  Passage ask(uint64_t now_ns);

  void succeeded(bool was_probe, uint64_t now_ns);
  void failed(bool was_probe, uint64_t now_ns);
  // A probe ended without a verdict: cancelled, or refused before it ran.
  void probe_lost(uint64_t now_ns);

  // Another generation answers from now on: what was before says nothing of it.
  void renew();

  BreakerState state(uint64_t now_ns);
  BreakerState last_state() const { return state_; }  // as of the last call of any other
  // When a blocked request may pass at the earliest; 0: nothing is blocked.
  uint64_t passes_in_ms(uint64_t now_ns);
  uint64_t opened_total() const { return opened_total_; }

 private:
  void step(BreakerEvent event, uint64_t now_ns);
  uint64_t advance(uint64_t now_ns);

  BreakerState state_ = BreakerState::kClosed;
  uint32_t failures_ = 0;  // in a row
  bool probe_runs_ = false;
  uint64_t opened_ns_ = 0;
  uint64_t opened_total_ = 0;
  ForwardClock clock_;
};

}  // namespace deepserve::daemon
