// Quantised matrices in the order in which integer dot products want them: 16 rows side by side.
//
// Packed are Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K; they keep their codes and scales to the bit
// and grow by at most 3 % (packed_layout.h). Rows that do not fill the last group of 16 are zeros.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/column_parts.h"
#include "kernels/cpu/quantized_inputs.h"
#include "kernels/cpu/weight_format.h"

namespace deepserve::kernels {

inline constexpr size_t kPackedAlignment = 64;

// A packed matrix [rows, columns]. Borrows its bytes, which begin on kPackedAlignment.
struct PackedMatrix {
  const uint8_t* data = nullptr;  // group after group; nullptr: not packed
  WeightType type = WeightType::kQ8_0;
  size_t rows = 0;
  size_t columns = 0;  // a multiple of the format's block_elements
};

bool is_packable(WeightType type);

// The unit in which matrices are packed and multiplied.
inline constexpr size_t kRowsOfGroup = 16;
size_t row_groups(size_t rows);
// A multiple of kPackedAlignment.
size_t packed_group_bytes(WeightType type, size_t columns);
size_t packed_bytes(WeightType type, size_t rows, size_t columns);

// Packs groups [group_begin, group_end) of `from`, which is_packable, into their places behind `packed`, the
// first byte of the whole packed matrix. Reads only the rows of these groups, writes only their bytes.
void pack_row_groups(const Matrix& from, size_t group_begin, size_t group_end, uint8_t* packed);

// Row `row` to float32, out[columns]: the bits that dequantize_row gives of the row as it was stored.
void dequantize_packed_row(const PackedMatrix& from, size_t row, float* out);

// outputs[t][r] = dot(weights[r], inputs[t]) (+ bias[r]) for the rows of groups [group_begin, group_end),
// t in [0, tokens).
//
// Per output and part, blocks of 32 columns in ascending order, with d the weights' scale as a float,
// products rounded where there are parentheses, fma(a, b, c) = a * b + c rounded once:
//   sum = fma((float)(integer dot of (q - offset) and the codes), (d * input.scale), sum)
//   sum = fma(minimum, input.scaled_sum, sum)     for formats with minima; -(dmin * minimum) for K types
// Q6_K takes the first line for each half of 16; then the parts' sums (column_parts.h). Integers are exact,
// so the bits depend neither on the instruction set nor on what one call covers.
struct PackedMatmulArguments {
  PackedMatrix weights;
  size_t group_begin = 0;
  size_t group_end = 0;
  const InputBlock* inputs = nullptr;  // [tokens, input_blocks(columns)]
  size_t tokens = 0;
  float* outputs = nullptr;  // [tokens, rows], rows `output_stride` apart
  size_t output_stride = 0;
  const float* bias = nullptr;  // [rows] or none
  bool accumulate = false;      // outputs += instead of =
  ColumnParts parts;
};

}  // namespace deepserve::kernels
