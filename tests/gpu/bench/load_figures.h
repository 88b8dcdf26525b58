// How fast weights come to the GPU, against what its bus can do.
#pragma once

#include <vector>

#include "tests/gpu/bench/figures.h"
#include "tests/gpu/bench/random_model.h"

namespace deepserve::runner {

// All weights of the shape from the host's memory, `runs` times, by `threads` threads; and copies of pinned
// memory by the driver alone.
Result<void> time_load(const ModelShape& shape, uint32_t threads, uint32_t runs,
                       std::vector<Figure>& figures);

}  // namespace deepserve::runner
