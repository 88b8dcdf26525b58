// The two ends of a rank group: rank 0's backend, which an engine uses like any other, and what the other
// ranks do.
#pragma once

#include <memory>

#include "ipc/base/result.h"
#include "runner/backend/backend.h"
#include "runner/collective/collective.h"

namespace deepserve::runner {

// Rank 0: each step and copy goes to the other ranks, then to `own`, this rank's part of the model. Waits for
// the others to have loaded theirs; kBadLane when they made another thing of it. Its end is theirs.
// `collective` outlives the result. A step's error is the group's: every later step gives it again.
Result<std::unique_ptr<Backend>> lead_ranks(std::unique_ptr<Backend> own, Collective& collective);

// Any other rank: computes what rank 0 says until it says that it ends. An error has been told to the other
// ranks: the process should end.
Result<void> follow_rank_0(Backend& own, Collective& collective);

}  // namespace deepserve::runner
