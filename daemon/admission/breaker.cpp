#include "daemon/admission/breaker.h"

#include <algorithm>
#include <array>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

using R = BreakerRule;
constexpr size_t kStates = static_cast<size_t>(BreakerState::kCount);
constexpr size_t kEvents = static_cast<size_t>(BreakerEvent::kCount);

// What began before it opened says nothing new about it: late successes and failures are ignored.
// clang-format off
constexpr std::array<std::array<R, kEvents>, kStates> kTable = {{
    // kSuccess     kFailure      kProbeSuccess  kProbeFailure
    // kProbeLost   kProbeTime    kOver
    // closed
    {{R::kForget,    R::kCountOne, R::kIgnore,    R::kIgnore,
      R::kIgnore,    R::kIgnore,   R::kIgnore}},
    // open
    {{R::kIgnore,    R::kIgnore,   R::kIgnore,    R::kIgnore,
      R::kIgnore,    R::kHalfOpen, R::kCloseOnTrial}},
    // half-open
    {{R::kIgnore,    R::kIgnore,   R::kClose,     R::kTrip,
      R::kFreeProbe, R::kIgnore,   R::kCloseOnTrial}},
}};
// clang-format on
static_assert(kTable.size() == kStates && kTable[0].size() == kEvents);

}  // namespace

std::string_view breaker_state_name(BreakerState state) {
  constexpr std::array<std::string_view, kStates> kNames = {"closed", "open", "half_open"};
  return kNames.at(static_cast<size_t>(state));
}

BreakerRule breaker_rule(BreakerState state, BreakerEvent event) {
  CHECK(state < BreakerState::kCount && event < BreakerEvent::kCount);
  return kTable[static_cast<size_t>(state)][static_cast<size_t>(event)];
}

void Breaker::step(BreakerEvent event, uint64_t now_ns) {
  switch (breaker_rule(state_, event)) {
    case R::kIgnore:
    case R::kCount:
      break;
    case R::kForget:
      failures_ = 0;
      break;
    case R::kCountOne:
      if (++failures_ < kFailuresMax) break;
      [[fallthrough]];
    case R::kTrip:
      state_ = BreakerState::kOpen;
      opened_ns_ = now_ns;
      probe_runs_ = false;
      ++opened_total_;
      break;
    case R::kHalfOpen:
      state_ = BreakerState::kHalfOpen;
      probe_runs_ = false;
      break;
    case R::kClose:
      state_ = BreakerState::kClosed;
      failures_ = 0;
      break;
    case R::kCloseOnTrial:
      state_ = BreakerState::kClosed;
      failures_ = kFailuresMax - 1;
      break;
    case R::kFreeProbe:
      probe_runs_ = false;
      break;
  }
}

void Breaker::renew() {
  state_ = BreakerState::kClosed;
  failures_ = 0;
  probe_runs_ = false;
}

// What the clock brings.
uint64_t Breaker::advance(uint64_t now_ns) {
  now_ns = clock_.advance(now_ns);
  if (state_ == BreakerState::kClosed) return now_ns;
  if (now_ns >= opened_ns_ + kOpen_ns) {
    step(BreakerEvent::kOver, now_ns);
  } else if (now_ns >= opened_ns_ + kProbe_ns) {
    step(BreakerEvent::kProbeTime, now_ns);
  }
  return now_ns;
}

Breaker::Passage Breaker::ask(uint64_t now_ns) {
  advance(now_ns);
  if (state_ == BreakerState::kClosed) return Passage::kPasses;
  if (state_ == BreakerState::kOpen || probe_runs_) return Passage::kBlocked;
  probe_runs_ = true;
  return Passage::kIsProbe;
}

void Breaker::succeeded(bool was_probe, uint64_t now_ns) {
  now_ns = advance(now_ns);
  step(was_probe ? BreakerEvent::kProbeSuccess : BreakerEvent::kSuccess, now_ns);
}

void Breaker::failed(bool was_probe, uint64_t now_ns) {
  now_ns = advance(now_ns);
  step(was_probe ? BreakerEvent::kProbeFailure : BreakerEvent::kFailure, now_ns);
}

void Breaker::probe_lost(uint64_t now_ns) {
  now_ns = advance(now_ns);
  step(BreakerEvent::kProbeLost, now_ns);
}

BreakerState Breaker::state(uint64_t now_ns) {
  advance(now_ns);
  return state_;
}

uint64_t Breaker::passes_in_ms(uint64_t now_ns) {
  now_ns = advance(now_ns);
  if (state_ == BreakerState::kClosed) return 0;
  const uint64_t until_ns = state_ == BreakerState::kOpen ? opened_ns_ + kProbe_ns : opened_ns_ + kOpen_ns;
  return (until_ns - std::min(until_ns, now_ns) + kMillisecond_ns - 1) / kMillisecond_ns;
}

}  // namespace deepserve::daemon
