// How often the kernel has killed for memory where we live.
#pragma once

#include <cstdint>

namespace deepserve::daemon {

// oom_kill of our cgroup's memory.events (v2) or memory.oom_control (v1), else of /proc/vmstat; 0 when none
// can be read.
uint64_t oom_kill_count();

}  // namespace deepserve::daemon
