// Matrices whose weights are used as they lie in the file, on CPUs with AVX-512; see Kernels::matmul.
#pragma once

#include "kernels/cpu/kernels.h"

namespace deepserve::kernels {

// Every weight type. F32, F16 and BF16 are decoded in registers, the others by the AVX2 decoders into panels.
void avx512_matmul(const MatmulArguments& arguments);

}  // namespace deepserve::kernels
