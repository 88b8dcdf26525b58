// How fast the decode attention of several sequences is, alone, against the bandwidth of copies.
#pragma once

#include <vector>

#include "runner/backend/device_limits.h"
#include "tests/gpu/bench/figures.h"
#include "tests/gpu/bench/random_model.h"

namespace deepserve::runner {

struct AttentionCase {
  uint32_t sequences;
  uint32_t context;  // tokens of each, the new one among them
};

// One layer of the shape, on random keys and values in blocks that lie anywhere.
Result<void> time_attention(const ModelShape& shape, const AttentionCase& one, const DeviceLimits& limits,
                            uint32_t repeats, std::vector<Figure>& figures);

}  // namespace deepserve::runner
