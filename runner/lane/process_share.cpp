#include "runner/lane/process_share.h"

#include <fcntl.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string_view>

#include "ipc/base/fd.h"
#include "runner/lane/memory_nodes.h"

namespace deepserve::runner {
namespace {

constexpr std::string_view kOomScore = "300";  // dsd's own stays at 0

}  // namespace

Result<void> bind_to_cores(std::span<const uint32_t> cores) {
  if (cores.empty()) return {};
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  for (const uint32_t core : cores) {
    if (core >= CPU_SETSIZE) return fail(Code::kInvalidConfig, "core {} is beyond {}", core, CPU_SETSIZE - 1);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    // One by one first: a set that holds some usable core is accepted as a whole, and quietly shrunk.
    if (sched_setaffinity(0, sizeof one, &one) != 0) {
      return fail(Code::kInvalidConfig, "core {} is not one that this process may use", core);
    }
    CPU_SET(core, &wanted);
  }
  if (sched_setaffinity(0, sizeof wanted, &wanted) != 0) return fail_errno("sched_setaffinity");
  return {};
}

uint32_t usable_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return 1;
  return static_cast<uint32_t>(CPU_COUNT(&cores));
}

void prefer_as_oom_victim() {
  const Fd file(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (!file || write(file.get(), kOomScore.data(), kOomScore.size()) < 0) {
    spdlog::warn("cannot raise oom_score_adj: if memory runs out, the kernel may choose the daemon");
  }
}

Result<void> limit_memory(uint64_t bytes) {
  const rlimit limit{bytes, bytes};
  if (setrlimit(RLIMIT_DATA, &limit) != 0) return fail_errno("setrlimit(RLIMIT_DATA)");
  return {};
}

Error with_memory_limit(Error error, const ServeOptions& options) {
  if (error.code != Code::kOutOfMemory || !options.memory_limit_bytes) return error;
  return {Code::kInvalidConfig,
          fmt::format("{}; memory_limit is {} bytes", error.message, *options.memory_limit_bytes)};
}

void forbid_core_dumps() {
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) spdlog::warn("cannot forbid core dumps");
}

Result<void> take_share(const ServeOptions& options) {
  forbid_core_dumps();
  prefer_as_oom_victim();
  TRY(bind_to_cores(options.cores));
  spread_memory_over_nodes();
  if (options.memory_limit_bytes) TRY(limit_memory(*options.memory_limit_bytes));
  return {};
}

}  // namespace deepserve::runner
