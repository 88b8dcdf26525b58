// The runner's last words: why it dies goes into the lane before it does.
#pragma once

#include <cstdint>

#include "ipc/lane/lane.h"
#include "ipc/rank_group/group_memory.h"

namespace deepserve::runner {

// From here on SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT write their cause into `lane` (on an alternate
// stack) and then take their default action. A SIGBUS at an address of a mapped model file, where a page of
// it is gone or cannot be read, is reported as kind 4: the model file changed under us. Memory
// that operator new cannot get is reported with code kOutOfMemory, naming `memory_limit_bytes` unless 0; then
// so is a thread that has no room for its stack. `lane` must live as long as the process. Call once.
void report_fatal_signals_to(ipc::Lane& lane, uint64_t memory_limit_bytes);

// Another lane takes the place of that one, which may go then.
void redirect_fatal_signals_to(ipc::Lane& lane);

// The same for a rank that has no lane: as the failure of `rank` in `group` (kBadModelFile where the model
// file changed, kInternal for a signal).
void report_fatal_signals_to(const ipc::GroupMemory& group, uint32_t rank, uint64_t memory_limit_bytes);

// The cause of a death by an error that was reported: kind 3; kind 4 when `model_changed`; kind 5, with the
// error's device_error, for kDeviceFault.
void record_reported_error(ipc::Lane& lane, const Error& error, bool model_changed);

}  // namespace deepserve::runner
