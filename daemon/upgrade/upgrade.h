// The upgrade in place, in the process that is to be upgraded: `dsctl daemon reexec` (DESIGN 10).
//
// idle -> trial (a child says whether it could take over; nothing is given up) -> quiet (nothing new is read;
// what cannot be handed over ends) -> the new program runs in this process. From anywhere back to idle: the
// reason is told, and everything goes on as if nothing had been.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/loop/loop.h"
#include "daemon/upgrade/handed_state.h"
#include "daemon/upgrade/program.h"
#include "daemon/upgrade/trial.h"

namespace deepserve::daemon {

// What it asks of the daemon around it.
struct UpgradeHooks {
  std::function<HandedState()> state;  // as it is now; of what cannot be handed over nothing
  std::function<std::string()> stays;  // what cannot be handed over now, in words; empty: nothing
  std::function<void()> hold;          // read and dispatch nothing new
  std::function<void()> release;
  std::function<void()> leaving;  // the next thing is the new program
  std::function<void()> stayed;   // it was not
};

class Upgrade {
 public:
  static constexpr uint64_t kQuietLimit_ms = 1'000;
  static constexpr uint64_t kQuietLook_ms = 2;

  // `arguments`: our own, which the new program gets as well.
  Upgrade(Loop& loop, std::vector<std::string> arguments, UpgradeHooks hooks);

  // `path`: the new program; empty: the file that this one was started from, whatever is there now.
  // `failed` is called once, perhaps before begin returns, if the new program does not take over; otherwise
  // there is nobody left to call it. kConflict says why.
  using Failed = std::function<void(const Error&)>;
  void begin(const std::string& path, Failed failed);
  bool is_going_on() const { return failed_ != nullptr; }
  // The process is to end: no upgrade any more.
  void give_up(const Error& why);

 private:
  void on_trial(const Result<void>& passed);
  void look();
  Result<void> leave();

  Loop& loop_;
  const std::vector<std::string> arguments_;
  const UpgradeHooks hooks_;
  Failed failed_;
  std::optional<Program> program_;
  std::unique_ptr<Trial> trial_;
  Timer quiet_timer_;
  uint64_t quiet_since_ns_ = 0;
  bool held_ = false;
};

}  // namespace deepserve::daemon
