#include "daemon/process/descriptors.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>

namespace deepserve::daemon {
namespace {

// Twelve of standard streams, log, lock and loop; the rest for files read in passing, sockets of the service
// manager and the connection that is about to be refused.
constexpr size_t kOwn = 32;
// A runner's start puts its descriptors at 64 or above (Child::spawn): the numbers below do not help it, and
// they may be the only ones free.
constexpr size_t kUselessForSpawn = 64;
// A runner that lives holds 4; while one starts it takes 16, both ends of its lane and their copies.
constexpr size_t kPerRunner = 16;
constexpr size_t kOperatorRouters = 2;  // ctl.sock, and /metrics where that listens
constexpr size_t kClientConnectionsMin = 16;

}  // namespace

Result<size_t> raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno("reading RLIMIT_NOFILE");
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno("raising RLIMIT_NOFILE");
  return static_cast<size_t>(limit.rlim_cur);
}

size_t reserved_descriptors(const HttpLimits& limits, size_t listeners, size_t runners) {
  return kOwn + kUselessForSpawn + listeners + kOperatorRouters * (1 + limits.operator_connections_max) +
         kPerRunner * runners;
}

Result<HttpLimits> fit_descriptors(const HttpLimits& limits, size_t limit, size_t listeners, size_t runners) {
  const size_t reserved = reserved_descriptors(limits, listeners, runners);
  if (limit < reserved + kClientConnectionsMin) {
    return fail(
        Code::kIo,
        "RLIMIT_NOFILE (LimitNOFILE= of the unit, ulimit -n) allows {} descriptors: {} runner(s) need "
        "at least {}",
        limit, runners, reserved + kClientConnectionsMin);
  }
  HttpLimits fitted = limits;
  fitted.connections_max = std::min(limits.connections_max, limit - reserved);
  if (fitted.connections_max < limits.connections_max) {
    spdlog::warn("RLIMIT_NOFILE of {} leaves room for {} connections of clients instead of {}", limit,
                 fitted.connections_max, limits.connections_max);
  }
  return fitted;
}

}  // namespace deepserve::daemon
