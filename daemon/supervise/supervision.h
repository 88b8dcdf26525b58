// The supervision of one runner: a table of state x event (DESIGN 10). Pure: time comes in, actions go out.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/supervise/death.h"
#include "daemon/supervise/supervision_record.h"

namespace deepserve::daemon {

enum class RunnerStatus : uint8_t {
  kStopped,   // no process, and none wanted
  kStarting,  // a process exists and has not said anything
  kLoading,   // it loads the model or warms up
  kReady,     // it takes requests. Not: that its last step was a moment ago
  kDraining,  // it was asked to end (stop or restart) and has not ended yet
  kHung,      // it stood still, or lied: it is being ended and counts as dead already
  kBackoff,   // no process; the next one is started when the timer expires
  kFailed,    // no process; none is started until an operator says so
  kCount
};
std::string_view runner_status_name(RunnerStatus status);

enum class RunnerEvent : uint8_t {
  kStart,       // at the start of dsd
  kLoading,     // it said so
  kReady,       // it said so
  kServed,      // a token of a request came from it since the last tick
  kStoodStill,  // ProgressWatch says hung
  kLied,        // it broke the lane's rules
  kDied,        // its process is gone, or could not be started: with a Death
  kTimer,       // timer_at_ns() has come
  kRestart,     // an operator's wish
  kStop,        // dsd ends
  kAdopt,       // a process of an earlier dsd is taken over: it will say what it is
  kHeld,        // it was to be started, and its device is not ready for it
  kReleased,    // its device is, or another try is due
  kDeviceLost,  // its device is taken from it: it is to be ended, and started anew
  kCount
};

enum class RunnerRule : uint8_t {
  kIgnore,
  kSpawn,  // start a process now
  kBecomeLoading,
  kBecomeReady,
  kForgive,        // the back-off starts anew
  kEndHung,        // SIGTERM, SIGKILL when the grace is over
  kEndLiar,        // SIGKILL
  kEndForRestart,  // SIGTERM, SIGKILL when the grace is over, then spawn
  kEndForStop,     // it was asked over its lane: SIGTERM and SIGKILL when the graces are over, then nothing
  kKill,           // the grace is over: SIGTERM if it had none yet, else SIGKILL
  kStopWanted,     // it is ending already: no restart afterwards
  kRestartWanted,  // it is ending already: restart afterwards, unless dsd ends
  kBury,           // decide what comes after a death
  kBecomeStopped,
  kTakeOver,      // as after a spawn, of a process that is there
  kHold,          // it waits for its device, without a timer
  kSpawnHeld,     // start a process now, if it waits for its device
  kEndForDevice,  // as for a restart, which nobody asked for
  kCount
};

RunnerRule runner_rule(RunnerStatus status, RunnerEvent event);

struct SupervisionLimits {
  uint32_t deaths_max = 5;
  uint64_t window_ns = 0;
  uint64_t exit_grace_ns = 1'000'000'000;   // from being asked to exit to SIGTERM
  uint64_t grace_ns = 2'000'000'000;        // from SIGTERM to SIGKILL
  uint64_t backoff_first_ns = 500'000'000;  // after the immediate restart
  uint64_t backoff_max_ns = 30'000'000'000;
  uint32_t unready_kills_max = 3;  // outside SIGKILLs in a row before it was ready; then it waits a little
};

// What the owner must do after an event, in this order.
struct RunnerActions {
  int signal = 0;      // 0, SIGTERM or SIGKILL to the process
  bool spawn = false;  // start a process; report a failure to do so as kDied
};

class Supervision {
 public:
  explicit Supervision(const SupervisionLimits& limits) : limits_(limits) {}

  // `death` belongs to kDied and to nothing else.
  RunnerActions step(RunnerEvent event, uint64_t now_ns, const Death* death = nullptr);

  // For deaths from now on.
  void set_limits(const SupervisionLimits& limits) { limits_ = limits; }

  // A request was found that kills whoever runs it: the deaths so far were its doing and count no more.
  void absolve() {
    deaths_.clear();
    backoff_ns_ = 0;
  }

  RunnerStatus status() const { return status_; }
  // When kTimer is due; 0: never.
  uint64_t timer_at_ns() const { return timer_at_ns_; }
  uint32_t restarts() const { return restarts_; }
  // Why the last process died; empty: none has.
  const std::string& last_error() const { return last_error_; }
  // How the last death counts for the requests that ran there, and for the metrics.
  Blame last_blame() const { return last_blame_; }
  const std::string& last_reason() const { return last_reason_; }
  // What the next dsd is to remember, and what this one does of the last. Before the first event.
  SupervisionRecord record() const;
  void resume(const SupervisionRecord& record);
  // A process will be, or is being, started without anybody's doing.
  bool may_become_ready() const;

 private:
  RunnerActions bury(const Death& death, uint64_t now_ns);
  RunnerActions spawn();
  void begin();
  RunnerActions end(RunnerStatus status, int signal, uint64_t now_ns);
  RunnerActions back_off(uint64_t delay_ns, uint64_t now_ns);

  SupervisionLimits limits_;
  RunnerStatus status_ = RunnerStatus::kStopped;
  uint64_t timer_at_ns_ = 0;
  uint64_t backoff_ns_ = 0;      // before the next restart after a blamed death; 0: at once
  std::deque<uint64_t> deaths_;  // of the blamed ones, within the window
  uint32_t unready_kills_ = 0;
  uint32_t restarts_ = 0;
  bool started_ = false;
  bool terminated_ = false;  // it has had its SIGTERM
  bool stop_wanted_ = false;
  bool restart_wanted_ = false;
  bool held_ = false;         // it waits for its device
  bool device_lost_ = false;  // why it is being ended
  std::string last_error_;
  std::string last_reason_;
  std::string hang_text_;
  Blame last_blame_ = Blame::kNobody;
};

}  // namespace deepserve::daemon
