// What becomes of a sum over all columns: the same for each kernel that multiplies.
#pragma once

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/ptx.cuh"

namespace deepserve::kernels::cuda {

__device__ inline float silu(float x) {
  return x / (1.0f + expf(-x));
}

// `sum` of matrix row `row` and `token`. kSwiglu: `row` is one of gate, and `up` the sum of the row of up
// beside it. Rows behind the matrix are thrown away.
__device__ inline void put_product(const MatmulArguments& arguments, uint32_t token, uint32_t row, float sum,
                                   float up) {
  const bool has_bias = arguments.bias != nullptr;
  if (arguments.epilogue == Epilogue::kSwiglu) {
    const uint32_t column = row / kTileRows * kGateRows + row % kTileRows;
    if (column >= arguments.out_stride) return;
    const bool is_inside = row + kGateRows < arguments.weights.rows;
    const float gate = sum + (has_bias && is_inside ? arguments.bias[row] : 0.0f);
    up += has_bias && is_inside ? arguments.bias[row + kGateRows] : 0.0f;
    arguments.out_bf16[size_t{token} * arguments.out_stride + column] =
        static_cast<uint16_t>(pack_bf16(is_inside ? silu(gate) * up : 0.0f, 0));
    return;
  }
  if (row >= arguments.weights.rows) return;
  float* out = arguments.out + size_t{token} * arguments.out_stride + row;
  const float value = sum + (has_bias ? arguments.bias[row] : 0.0f);
  *out = arguments.epilogue == Epilogue::kAdd ? *out + value : value;
}

}  // namespace deepserve::kernels::cuda
