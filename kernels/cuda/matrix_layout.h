// Puts rows of weights as files store them into the order of a GPU's memory (matrix.h). On the host.
#pragma once

#include <cstdint>

#include "kernels/cpu/weight_format.h"
#include "kernels/cuda/matrix.h"

namespace deepserve::kernels::cuda {

// What a matrix is held as: Q8_0, Q4_K and E4M3 as what they are, F16 and BF16 too, all others as BF16; and
// so E4M3 of which a rank has columns that do not begin with a block of scales.
MatrixFormat format_for(const Matrix& matrix);

// A matrix of `rows` rows and `columns` columns without its memory.
DeviceMatrix shape_of(MatrixFormat format, uint32_t rows, uint32_t columns);

// Bytes of its data, and of its scales.
inline size_t data_bytes(const DeviceMatrix& matrix) {
  return matrix.rows * matrix.row_bytes;
}
inline size_t scale_bytes(const DeviceMatrix& matrix) {
  return matrix.rows * matrix.scale_row_bytes;
}

// Row `row` of `from`, whose format_for is the matrix's format or which becomes BF16: to `data` [row_bytes]
// and `scales` [scale_row_bytes]. `scratch`: [columns].
void lay_out_row(const DeviceMatrix& matrix, const Matrix& from, size_t row, uint8_t* data, uint8_t* scales,
                 float* scratch);

}  // namespace deepserve::kernels::cuda
