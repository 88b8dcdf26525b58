// A process that is never confused with a later one of the same pid.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::ipc {

struct ProcessIdentity {
  uint64_t pid = 0;
  uint64_t start_ticks = 0;  // since boot, in clock ticks: field 22 of /proc/<pid>/stat, proc(5)

  bool operator==(const ProcessIdentity&) const = default;
};

// Of the process that has `pid` now. kNotFound when there is none.
Result<ProcessIdentity> process_identity(pid_t pid);

// What the process was started with, its program first. kNotFound when there is none.
Result<std::vector<std::string>> command_line(pid_t pid);

// When it started, to a clock tick, on CLOCK_MONOTONIC; 0 where the host has slept since for longer than
// that clock counts.
uint64_t start_ns(const ProcessIdentity& process);

// Of this process; read once, so that a sandbox may close /proc afterwards.
Result<ProcessIdentity> own_identity();

}  // namespace deepserve::ipc
