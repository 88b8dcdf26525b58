// The parts of the AVX2 table that know weight formats; see Kernels for what they do.
#pragma once

#include "kernels/cpu/kernels.h"

namespace deepserve::kernels {

void avx2_dequantize(WeightType type, const uint8_t* row, size_t elements, float* out);
void avx2_matmul(const MatmulArguments& arguments);

}  // namespace deepserve::kernels
