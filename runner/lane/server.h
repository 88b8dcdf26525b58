// The runner's process under dsd: from the descriptors it inherits to its exit status.
#pragma once

#include "runner/backend/backend.h"
#include "runner/device_kind.h"
#include "runner/lane/serve_options.h"

namespace deepserve::runner {

// How `ds-runner serve` ends. dsd also reads the cause from the lane (Lane::death_cause).
inline constexpr int kExitDone = 0;            // told to (control exit), or drained after SIGTERM
inline constexpr int kExitFailed = 1;          // an error that it reported: model, memory, device, lane
inline constexpr int kExitSupervisorGone = 3;  // dsd has gone, and no other one came in time
inline constexpr int kExitCutShort = 4;        // SIGTERM before it was ready: a load that was not finished

// Serves one lane (its descriptors at the numbers in ipc/lane/lane.h) until the process is to end; the result
// is its exit status. In this order: affinity, oom_score_adj and memory limit; lane; fatal-signal handlers;
// sandbox; model; a real forward pass; State ready; requests. What fails on the way is told as State failed
// and recorded as the cause of death. Until ready nothing is read from the lane: requests wait there. The
// caller ends the process with _exit: threads of the backend may be running.
int serve(const ServeOptions& options);

// The same for all ranks of a model, but for what only rank 0 has.
BackendOptions backend_options_of(const ServeOptions& options, const DeviceKind& device);

// The sandbox of one that computes on such a device; sandbox.h.
std::string enter_sandbox_with(const DeviceKind& device, std::vector<std::filesystem::path> readable);

}  // namespace deepserve::runner
