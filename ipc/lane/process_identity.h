// A process that is never confused with a later one of the same pid.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "ipc/base/result.h"

namespace deepserve::ipc {

struct ProcessIdentity {
  uint64_t pid = 0;
  uint64_t start_ticks = 0;  // since boot, in clock ticks: field 22 of /proc/<pid>/stat, proc(5)

  bool operator==(const ProcessIdentity&) const = default;
};

// Of the process that has `pid` now. kNotFound when there is none.
Result<ProcessIdentity> process_identity(pid_t pid);

}  // namespace deepserve::ipc
