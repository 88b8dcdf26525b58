// A runner that is one rank of several: how it finds its group, and what a rank other than 0 does.
#pragma once

#include <memory>

#include "ipc/base/result.h"
#include "runner/collective/shared_collective.h"
#include "runner/lane/serve_options.h"

namespace deepserve::runner {

// Joins the group whose memory dsd left at `descriptor`, ipc::kRankGroupFd; its generation is the epoch of
// the lane that rank 0 began with. Before the sandbox: it lets no process see another's beginnings.
Result<std::shared_ptr<ipc::GroupMemory>> map_inherited_group(const ServeOptions& options, Fd& descriptor);

// A rank other than 0, from the descriptor that it inherits to its exit status (server.h). It has no lane: it
// computes what rank 0 tells it, and ends when rank 0 ends or says so. Why it fails stands in the group's
// memory, for rank 0 and for dsd. SIGTERM is rank 0's to answer.
int serve_rank(const ServeOptions& options);

}  // namespace deepserve::runner
