// The generator of kernels/philox.h in the engine's words.
#pragma once

#include <array>
#include <cstdint>

namespace deepserve::runner {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

PhiloxCounter philox4x32_10(PhiloxCounter counter, PhiloxKey key);

// The draw of token `index` of `choice` under `seed`: uniform in [0, 1), 53 bits.
double uniform_draw(uint64_t seed, uint16_t choice, uint32_t index);

}  // namespace deepserve::runner
