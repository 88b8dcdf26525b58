// POST /ctl/daemon/reexec and /ctl/daemon/stop: the end of this program, in favour of another one or of none.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "daemon/http/router.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

// What became of an upgrade in place, told by whoever runs after it.
struct UpgradeOutcome {
  std::string version_before;
  std::string rolled_back;  // why the other program did not take over; empty: this one did
  double pause_ms = 0;      // nobody served
};

struct DaemonActions {
  // Becomes the program of this path (empty: the one that this was started from). `failed` is called if it
  // does not; else the answer is UpgradeOutcome's.
  std::function<void(const std::string& binary, std::function<void(const Error&)> failed)> reexec;
  // As SIGTERM does.
  std::function<void()> stop;
};

void add_daemon_routes(Router& router, const DaemonActions& actions);
// Lets the answer to a reexec, and no other one, go on in this process.
void resume_reexec(Router& router, const UpgradeOutcome& outcome);

}  // namespace deepserve::daemon
