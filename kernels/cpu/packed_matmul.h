// The packed parts of each instruction set's table; see Kernels for what they do.
#pragma once

#include "kernels/cpu/packed_matrix.h"

namespace deepserve::kernels {

void scalar_quantize_inputs(const float* x, size_t columns, InputBlock* out);
void scalar_packed_matmul(const PackedMatmulArguments& arguments);
void avx2_quantize_inputs(const float* x, size_t columns, InputBlock* out);
void avx2_packed_matmul(const PackedMatmulArguments& arguments);
void avx512_packed_matmul(const PackedMatmulArguments& arguments);

}  // namespace deepserve::kernels
