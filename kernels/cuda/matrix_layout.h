// Puts rows of weights as files store them into the order of a GPU's memory (matrix.h). On the host.
#pragma once

#include <cstdint>

#include "kernels/cpu/weight_format.h"
#include "kernels/cuda/matrix.h"

namespace deepserve::kernels::cuda {

// What weights of `type` are held as: Q8_0 and Q4_K as what they are, F16 and BF16 too, all others as BF16.
MatrixFormat format_for(WeightType type);

// A matrix of `rows` rows and `columns` columns without its memory.
DeviceMatrix shape_of(MatrixFormat format, uint32_t rows, uint32_t columns);

// Bytes of its data, and of its scales.
inline size_t data_bytes(const DeviceMatrix& matrix) {
  return matrix.rows * matrix.row_bytes;
}
inline size_t scale_bytes(const DeviceMatrix& matrix) {
  return matrix.rows * matrix.scale_row_bytes;
}

// One row of `type`, whose format_for is the matrix's format or which becomes BF16: to `data` [row_bytes] and
// `scales` [scale_row_bytes]. `scratch`: [columns].
void lay_out_row(const DeviceMatrix& matrix, WeightType type, const uint8_t* row, uint8_t* data,
                 uint8_t* scales, float* scratch);

}  // namespace deepserve::kernels::cuda
