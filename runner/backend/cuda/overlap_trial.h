// Whether kernels overlap on this GPU (kernels/cuda/overlap.h): a driver that does not take them so, in a
// stream or recorded as a graph, shall cost speed and not the runner.
#pragma once

#include "runner/backend/cuda/gpu.h"

namespace deepserve::runner::cuda {

// Sets it for this process, by what the GPU and the code for it can do (overlaps_on), and by a trial of two
// kernels. Says so where they cannot for no reason that is known.
void settle_overlap(const Gpu& gpu);

}  // namespace deepserve::runner::cuda
