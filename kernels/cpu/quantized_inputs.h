// The inputs of a packed matrix: each row of floats rounded to signed bytes, 32 columns a block.
//
// Of a block x[32], with m the largest |x|:
//   scale = m / 127, inverse = 127 / m, code = x * inverse rounded to the nearest integer, ties to even.
// All in binary32, so every instruction set gives the same bytes. A block whose m is below 2^-100 counts as
// all zeros; one that holds an infinity or a NaN gets zero codes and a NaN scale, which reaches every output.
#pragma once

#include <cstddef>
#include <cstdint>

namespace deepserve::kernels {

static constexpr size_t kInputBlock = 32;  // columns

struct alignas(16) InputBlock {
  int8_t codes[kInputBlock];    // -127..127
  float scale;                  // x is about scale * code
  float scaled_sum;             // scale * (float)(the sum of the codes)
  int32_t negative_sum;         // minus the sum of the codes
  int32_t negative_first_half;  // minus the sum of codes[0..15]
};
static_assert(sizeof(InputBlock) == 48);

// Blocks of a row of `columns`, a multiple of kInputBlock.
static constexpr size_t input_blocks(size_t columns) {
  return columns / kInputBlock;
}

}  // namespace deepserve::kernels
