// Philox4x32-10: a counter-based random generator. The numbers are a pure function of (key, counter), so a
// replay of the same choice draws the same at the same index, whatever was drawn in between.
//
// Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 3.3;
// constants and test vectors as in the authors' Random123 library.
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
