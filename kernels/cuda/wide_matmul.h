// Products of many tokens with a matrix of weights: tiles of 128 rows and up to 128 tokens, whose weights and
// inputs go through shared memory. Part of matmul() (matmul.h), whose bits it computes: each output is the
// same kColumnParts partial sums of the same products (weight_tile.cuh), added in the same order.
//
// Where a call has few tiles, several blocks of threads share the parts of a tile's columns, and the last of
// them adds up: the order of parts stays what it is.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/matmul.h"

namespace deepserve::kernels::cuda {

cudaError_t wide_matmul(const MatmulArguments& arguments, cudaStream_t stream);

}  // namespace deepserve::kernels::cuda
