#include "kernels/cpu/packed_row.h"

#include "kernels/cpu/packed_matrix.h"

namespace deepserve::kernels {

void dequantize_packed_row(const PackedMatrix& from, size_t row, float* out) {
  const size_t group_bytes = packed_group_bytes(from.type, from.columns);
  const PackedRow packed(from.type, from.data + row / kRowsOfGroup * group_bytes, row % kRowsOfGroup,
                         from.columns);
  const ScaleKind scales = packed_layout(from.type).scales;
  const bool has_minimum = scales == ScaleKind::kHalfAndMinimum || scales == ScaleKind::kSuperAndMinimum;
  for (size_t block = 0; block < input_blocks(from.columns); ++block) {
    int codes[kInputBlock];
    packed.codes(block, codes);
    for (size_t half = 0; half < 2; ++half) {
      const float scale = packed.scale(block, half);
      const float minimum = has_minimum ? packed.minimum(block) : 0.0f;
      for (size_t i = half * kInputBlock / 2; i < (half + 1) * kInputBlock / 2; ++i) {
        const float product = scale * static_cast<float>(codes[i]);
        *out++ = has_minimum ? product + minimum : product;
      }
    }
  }
}

}  // namespace deepserve::kernels
