// Which cores this host's cpuset allows, apart from what dsd's own affinity mask happens to be.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::daemon {

// "0-3,8,10-11" as the kernel writes lists of cpus. kInvalidConfig when it is not one.
Result<std::vector<uint32_t>> parse_cpu_list(std::string_view text);

// The effective cpuset of dsd's cgroup (v2, then v1); all online cpus where there is none.
std::vector<uint32_t> host_cpuset();

}  // namespace deepserve::daemon
