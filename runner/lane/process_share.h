// Keeps the process within its share of the host: cores, memory, and who dies first.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "ipc/base/result.h"
#include "runner/lane/serve_options.h"

namespace deepserve::runner {

// Binds the process, and the threads it will make, to `cores`; kInvalidConfig names one that it may not use.
Result<void> bind_to_cores(std::span<const uint32_t> cores);
// How many cores the process may run on.
uint32_t usable_cores();

// Asks the kernel to kill this process before the daemon when memory runs out. Failure is logged, no more.
void prefer_as_oom_victim();

// Limits private writable memory (RLIMIT_DATA: packed weights, KV cache, heap, thread stacks). The mapped
// model file is not counted: it is page cache, which the kernel takes back by itself. Packed weights and a KV
// cache that do not fit are refused with their sizes before anything is computed; what else does not ends the
// process with a reason (report_fatal_signals_to sees to that), where a cgroup limit would end it by SIGKILL.
Result<void> limit_memory(uint64_t bytes);

// `error`, naming the memory limit where that is the reason (kOutOfMemory), as kInvalidConfig: the limit is
// this process's alone, so that what does not fit now would not at the next start either.
Error with_memory_limit(Error error, const ServeOptions& options);

// No core dumps: they would hold prompts and answers.
void forbid_core_dumps();

// All of the above, as `options` say.
Result<void> take_share(const ServeOptions& options);

}  // namespace deepserve::runner
