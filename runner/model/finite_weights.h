// Finds weights that are no numbers: infinities and NaNs, which would make every answer garbage.
#pragma once

#include <cstdint>

#include "kernels/cpu/weight_format.h"

namespace deepserve::runner {

// Looks at the blocks in [begin, end), a whole number of them, of any alignment. The first block whose
// value, or scale or minimum where the values are quantised, is not finite; nullptr when all are.
const uint8_t* find_not_finite(kernels::WeightType type, const uint8_t* begin, const uint8_t* end);

}  // namespace deepserve::runner
