// How long a GPU takes to draw tokens from rows of logits that lie in its memory, all of a step's copies
// included.
#pragma once

#include <vector>

#include "ipc/base/result.h"
#include "tests/gpu/bench/figures.h"

namespace deepserve::runner {

// Of 1, 32 and 256 rows of `vocabulary` logits, about normal with some that stand out.
Result<void> time_draws(uint32_t vocabulary, uint32_t repeats, std::vector<Figure>& figures);

}  // namespace deepserve::runner
