#include "daemon/supervise/supervision.h"

#include <algorithm>
#include <array>
#include <csignal>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

using R = RunnerRule;
constexpr size_t kStatuses = static_cast<size_t>(RunnerStatus::kCount);
constexpr size_t kEvents = static_cast<size_t>(RunnerEvent::kCount);
using Row = std::array<RunnerRule, kEvents>;

// clang-format off
constexpr std::array<Row, kStatuses> kTable = {{
    // kStart     kLoading            kReady           kServed      kStoodStill
    // kLied      kDied               kTimer           kRestart     kStop              kAdopt
    // kHeld      kReleased           kDeviceLost
    // stopped
    {{R::kSpawn,  R::kIgnore,         R::kIgnore,      R::kIgnore,       R::kIgnore,
      R::kIgnore, R::kIgnore,         R::kIgnore,      R::kSpawn,        R::kIgnore, R::kTakeOver,
      R::kIgnore, R::kIgnore,         R::kIgnore}},
    // starting
    {{R::kIgnore, R::kBecomeLoading,  R::kBecomeReady, R::kIgnore,       R::kEndHung,
      R::kEndLiar, R::kBury,           R::kIgnore,      R::kEndForRestart, R::kEndForStop, R::kIgnore,
      R::kHold,   R::kIgnore,         R::kEndForDevice}},
    // loading
    {{R::kIgnore, R::kBecomeLoading,  R::kBecomeReady, R::kIgnore,       R::kEndHung,
      R::kEndLiar, R::kBury,           R::kIgnore,      R::kEndForRestart, R::kEndForStop, R::kIgnore,
      R::kIgnore, R::kIgnore,         R::kEndForDevice}},
    // ready
    {{R::kIgnore, R::kIgnore,         R::kIgnore,      R::kForgive,      R::kEndHung,
      R::kEndLiar, R::kBury,           R::kIgnore,      R::kEndForRestart, R::kEndForStop, R::kIgnore,
      R::kIgnore, R::kIgnore,         R::kEndForDevice}},
    // draining
    {{R::kIgnore, R::kIgnore,         R::kIgnore,      R::kIgnore,       R::kIgnore,
      R::kKill,   R::kBury,           R::kKill,        R::kRestartWanted, R::kStopWanted, R::kIgnore,
      R::kIgnore, R::kIgnore,         R::kIgnore}},
    // hung
    {{R::kIgnore, R::kIgnore,         R::kIgnore,      R::kIgnore,       R::kIgnore,
      R::kKill,   R::kBury,           R::kKill,        R::kRestartWanted, R::kStopWanted, R::kIgnore,
      R::kIgnore, R::kIgnore,         R::kIgnore}},
    // backoff
    {{R::kIgnore, R::kIgnore,         R::kIgnore,      R::kIgnore,       R::kIgnore,
      R::kIgnore, R::kIgnore,         R::kSpawn,       R::kSpawn,        R::kBecomeStopped, R::kIgnore,
      R::kIgnore, R::kSpawnHeld,      R::kIgnore}},
    // failed
    {{R::kIgnore, R::kIgnore,         R::kIgnore,      R::kIgnore,       R::kIgnore,
      R::kIgnore, R::kIgnore,         R::kIgnore,      R::kSpawn,        R::kBecomeStopped, R::kIgnore,
      R::kIgnore, R::kIgnore,         R::kIgnore}},
}};
// clang-format on
static_assert(kTable.size() == kStatuses && kTable[0].size() == kEvents);

}  // namespace

std::string_view runner_status_name(RunnerStatus status) {
  constexpr std::array<std::string_view, kStatuses> kNames = {"stopped",  "starting", "loading", "ready",
                                                              "draining", "hung",     "backoff", "failed"};
  return kNames.at(static_cast<size_t>(status));
}

RunnerRule runner_rule(RunnerStatus status, RunnerEvent event) {
  CHECK(status < RunnerStatus::kCount && event < RunnerEvent::kCount);
  return kTable[static_cast<size_t>(status)][static_cast<size_t>(event)];
}

bool Supervision::may_become_ready() const {
  if (stop_wanted_) return false;
  return status_ != RunnerStatus::kStopped && status_ != RunnerStatus::kFailed;
}

RunnerActions Supervision::step(RunnerEvent event, uint64_t now_ns, const Death* death) {
  CHECK((death != nullptr) == (event == RunnerEvent::kDied));
  const bool by_operator = event == RunnerEvent::kRestart;
  switch (runner_rule(status_, event)) {
    case R::kIgnore:
      return {};
    case R::kSpawn:
      // An operator's word clears the record: failed or not, it gets a fresh chance.
      if (by_operator) deaths_.clear(), backoff_ns_ = 0;
      return spawn();
    case R::kBecomeLoading:
      status_ = RunnerStatus::kLoading;
      return {};
    case R::kBecomeReady:
      status_ = RunnerStatus::kReady;
      unready_kills_ = 0;
      return {};
    case R::kForgive:
      backoff_ns_ = 0;
      return {};
    case R::kEndHung:
      hang_text_ = "hung: it made no progress and was ended";
      return end(RunnerStatus::kHung, SIGTERM, now_ns);
    case R::kEndLiar:
      hang_text_ = "broke the lane's rules and was ended";
      return end(RunnerStatus::kHung, SIGKILL, now_ns);
    case R::kEndForRestart:
      restart_wanted_ = true;
      return end(RunnerStatus::kDraining, SIGTERM, now_ns);
    case R::kEndForStop:
      stop_wanted_ = true;
      return end(RunnerStatus::kDraining, 0, now_ns);
    case R::kKill:
      return end(status_, terminated_ ? SIGKILL : SIGTERM, now_ns);
    case R::kStopWanted:
      stop_wanted_ = true;
      return {};
    case R::kRestartWanted:
      restart_wanted_ = true;
      return {};
    case R::kBury:
      return bury(*death, now_ns);
    case R::kBecomeStopped:
      status_ = RunnerStatus::kStopped;
      timer_at_ns_ = 0;
      return {};
    case R::kTakeOver:
      begin();
      return {};
    case R::kHold:
      status_ = RunnerStatus::kBackoff;
      held_ = true;
      return {};
    case R::kSpawnHeld:
      return held_ ? spawn() : RunnerActions{};
    case R::kEndForDevice:
      restart_wanted_ = device_lost_ = true;
      return end(RunnerStatus::kDraining, SIGTERM, now_ns);
    case R::kCount:
      break;
  }
  CHECK(false);
}

RunnerActions Supervision::spawn() {
  if (started_ && !held_) ++restarts_;
  begin();
  return {0, true};
}

// A process is there that has not said anything yet.
void Supervision::begin() {
  started_ = true;
  status_ = RunnerStatus::kStarting;
  timer_at_ns_ = 0;
  restart_wanted_ = stop_wanted_ = false;
  terminated_ = false;
  held_ = device_lost_ = false;
  hang_text_.clear();
}

RunnerActions Supervision::end(RunnerStatus status, int signal, uint64_t now_ns) {
  status_ = status;
  terminated_ = signal == SIGTERM;
  timer_at_ns_ = signal == SIGKILL ? 0 : now_ns + (terminated_ ? limits_.grace_ns : limits_.exit_grace_ns);
  return {signal, false};
}

RunnerActions Supervision::back_off(uint64_t delay_ns, uint64_t now_ns) {
  if (delay_ns == 0) return spawn();
  status_ = RunnerStatus::kBackoff;
  timer_at_ns_ = now_ns + delay_ns;
  return {};
}

SupervisionRecord Supervision::record() const {
  SupervisionRecord record;
  record.restarts = restarts_;
  record.unready_kills = unready_kills_;
  record.failed = status_ == RunnerStatus::kFailed;
  record.backoff_ns = backoff_ns_;
  record.timer_at_ns = status_ == RunnerStatus::kBackoff ? timer_at_ns_ : 0;
  record.deaths.assign(deaths_.begin(), deaths_.end());
  record.last_error = last_error_;
  record.last_reason = last_reason_;
  return record;
}

void Supervision::resume(const SupervisionRecord& record) {
  CHECK(!started_ && status_ == RunnerStatus::kStopped);
  started_ = true;
  restarts_ = record.restarts;
  unready_kills_ = record.unready_kills;
  backoff_ns_ = std::min(record.backoff_ns, limits_.backoff_max_ns);
  deaths_.assign(record.deaths.begin(), record.deaths.end());
  last_error_ = record.last_error;
  last_reason_ = record.last_reason;
  if (record.failed) status_ = RunnerStatus::kFailed;
  if (record.failed || record.timer_at_ns == 0) return;
  status_ = RunnerStatus::kBackoff;
  timer_at_ns_ = record.timer_at_ns;
}

RunnerActions Supervision::bury(const Death& death, uint64_t now_ns) {
  const bool was_hung = status_ == RunnerStatus::kHung;
  last_error_ = was_hung ? hang_text_ : death.text;
  if (device_lost_ && death.device_error == 0) last_error_ = "ended, as its device was taken from it";
  last_reason_ = was_hung ? "hung" : device_lost_ ? "device" : restart_wanted_ ? "operator" : death.reason;
  last_blame_ = was_hung ? Blame::kRunner : status_ == RunnerStatus::kDraining ? Blame::kNobody : death.blame;
  timer_at_ns_ = 0;
  if (stop_wanted_) {
    status_ = RunnerStatus::kStopped;
    return {};
  }
  if (restart_wanted_) return spawn();
  if (last_blame_ == Blame::kNobody && (was_hung || death.device_error == 0)) {
    // Killed again and again before it was ready: perhaps an OOM killer that we cannot see. Go on, but not
    // hot.
    return back_off(++unready_kills_ > limits_.unready_kills_max ? limits_.backoff_first_ns : 0, now_ns);
  }
  deaths_.push_back(now_ns);
  while (now_ns - deaths_.front() > limits_.window_ns) deaths_.pop_front();
  if (death.permanent || deaths_.size() > limits_.deaths_max) {
    status_ = RunnerStatus::kFailed;
    return {};
  }
  const uint64_t delay_ns = backoff_ns_;
  backoff_ns_ = delay_ns == 0 ? limits_.backoff_first_ns : std::min(delay_ns * 2, limits_.backoff_max_ns);
  return back_off(delay_ns, now_ns);
}

}  // namespace deepserve::daemon
