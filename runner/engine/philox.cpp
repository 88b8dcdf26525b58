#include "runner/engine/philox.h"

#include "kernels/philox.h"

namespace deepserve::runner {

PhiloxCounter philox4x32_10(PhiloxCounter counter, PhiloxKey key) {
  uint32_t words[4] = {counter[0], counter[1], counter[2], counter[3]};
  kernels::philox4x32_10(words, key[0], key[1]);
  return {words[0], words[1], words[2], words[3]};
}

double uniform_draw(uint64_t seed, uint16_t choice, uint32_t index) {
  return static_cast<double>(kernels::draw_bits(seed, choice, index)) * 0x1.0p-53;
}

}  // namespace deepserve::runner
