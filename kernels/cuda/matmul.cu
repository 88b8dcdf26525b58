#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul_result.cuh"
#include "kernels/cuda/weight_tile.cuh"
#include "kernels/cuda/wide_matmul.h"

namespace deepserve::kernels::cuda {
namespace {

constexpr unsigned kWarps = kColumnParts;
constexpr unsigned kThreads = 32 * kWarps;
// So many reads of 2 KiB are under way in a warp. Two blocks on a multiprocessor, 96 KiB: one reads while the
// other begins or adds up.
constexpr unsigned kStepsAhead = 3;
constexpr unsigned kResident = 2;
constexpr unsigned kTiles = kFewTokens / 8;

// The inputs of this thread's columns, of the token lane / 4 of each tile.
__device__ void load_inputs(uint4 (&inputs)[kTiles], const MatmulArguments& arguments, uint32_t column) {
#pragma unroll
  for (unsigned n = 0; n < kTiles; ++n) {
    const uint32_t token = n * 8 + lane_index() / 4;
    inputs[n] = {0, 0, 0, 0};
    if (token < arguments.tokens) {
      inputs[n] =
          *reinterpret_cast<const uint4*>(arguments.inputs + size_t{token} * arguments.input_stride + column);
    }
  }
}

// Weights are asked for ahead of the kernel's turn.
template <MatrixFormat kFormat>
__device__ void sum_part(const MatmulArguments& arguments, float (&sums)[kTiles][4]) {
  const unsigned warp = threadIdx.x / 32, group = lane_index() / 4, pair = lane_index() % 4;
  RowPair rows;
#pragma unroll
  for (unsigned r = 0; r < 2; ++r) {
    // Rows behind the last one are computed as the last one is, and thrown away.
    const uint32_t wanted = blockIdx.x * kTileRows + r * 8 + group, last = arguments.weights.rows - 1;
    const uint32_t row = wanted < last ? wanted : last;
    rows.data[r] = arguments.weights.data + row * arguments.weights.row_bytes;
    rows.scales[r] = arguments.weights.scales + row * arguments.weights.scale_row_bytes;
  }
  const uint32_t steps = (arguments.weights.padded_columns + kStepColumns - 1) / kStepColumns;
  const uint32_t begin = steps * warp / kWarps, end = steps * (warp + 1) / kWarps;
  WeightTile<kFormat> tiles[kStepsAhead];
#pragma unroll
  for (unsigned i = 0; i < kStepsAhead; ++i) {
    if (begin + i < end) tiles[i].load(rows, begin + i, pair);
  }
  if (arguments.bias != nullptr && threadIdx.x == 0) prefetch(arguments.bias + blockIdx.x * kTileRows);
  wait_for_kernels_before();
  for (uint32_t first = begin; first < end; first += kStepsAhead) {
#pragma unroll
    for (unsigned i = 0; i < kStepsAhead; ++i) {
      const uint32_t step = first + i;
      if (step >= end) break;
      const WeightTile<kFormat> tile = tiles[i];
      if (step + kStepsAhead < end) tiles[i].load(rows, step + kStepsAhead, pair);
#pragma unroll
      for (unsigned half = 0; half < kHalves; ++half) {
        uint4 inputs[kTiles];
        load_inputs(inputs, arguments, step * kStepColumns + half * 32 + pair * 8);
        tile.multiply_half(half, inputs, sums);
      }
    }
  }
}

// blockIdx.x: tile of rows. A warp has one part of the columns.
template <MatrixFormat kFormat>
__global__ void __launch_bounds__(kThreads, kResident) matmul_kernel(const MatmulArguments arguments) {
  const unsigned warp = threadIdx.x / 32, group = lane_index() / 4, pair = lane_index() % 4;
  float sums[kTiles][4] = {};
  let_next_kernel_begin();
  sum_part<kFormat>(arguments, sums);

  __shared__ float parts[kWarps][kFewTokens][kTileRows];
#pragma unroll
  for (unsigned n = 0; n < kTiles; ++n) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned token = n * 8 + 2 * pair + i % 2, row = group + i / 2 * 8;
      parts[warp][token][row] = sums[n][i];
    }
  }
  __syncthreads();
  const bool is_swiglu = arguments.epilogue == Epilogue::kSwiglu;
  const unsigned rows = is_swiglu ? kGateRows : kTileRows;
  for (unsigned i = threadIdx.x; i < kFewTokens * rows; i += kThreads) {
    const unsigned token = i / rows, row = i % rows;
    if (token >= arguments.tokens) continue;
    float sum = 0, up = 0;
    for (unsigned w = 0; w < kWarps; ++w) {
      sum += parts[w][token][row];
      if (is_swiglu) up += parts[w][token][row + kGateRows];
    }
    put_product(arguments, token, blockIdx.x * kTileRows + row, sum, up);
  }
}

template <MatrixFormat kFormat>
cudaError_t matmul_of_few(const MatmulArguments& arguments, cudaStream_t stream) {
  const unsigned tiles = (arguments.weights.rows + kTileRows - 1) / kTileRows;
  return launch_kernel({{tiles, 1, 1}, {kThreads, 1, 1}, 0, stream}, matmul_kernel<kFormat>, arguments);
}

__global__ void expand_kernel(const DeviceMatrix matrix, uint16_t* out) {
  begin_in_turn();
  const uint32_t row = blockIdx.x;
  for (uint32_t i = threadIdx.x; i < matrix.padded_columns; i += kThreads) {
    const float value = i < matrix.columns ? weight_at(matrix, row, i) : 0.0f;
    out[size_t{row} * matrix.padded_columns + i] = static_cast<uint16_t>(pack_bf16(value, 0));
  }
}

}  // namespace

cudaError_t matmul(const MatmulArguments& arguments, cudaStream_t stream) {
  const bool is_aligned = arguments.input_stride % 8 == 0 && arguments.weights.row_bytes % 16 == 0 &&
                          arguments.weights.scale_row_bytes % 16 == 0;
  if (!is_aligned || arguments.input_stride < arguments.weights.padded_columns) return cudaErrorInvalidValue;
  if (arguments.tokens > kFewTokens) return wide_matmul(arguments, stream);
  switch (arguments.weights.format) {
    case MatrixFormat::kBf16:
      return matmul_of_few<MatrixFormat::kBf16>(arguments, stream);
    case MatrixFormat::kF16:
      return matmul_of_few<MatrixFormat::kF16>(arguments, stream);
    case MatrixFormat::kQ8:
      return matmul_of_few<MatrixFormat::kQ8>(arguments, stream);
    case MatrixFormat::kQ4K:
      return matmul_of_few<MatrixFormat::kQ4K>(arguments, stream);
    case MatrixFormat::kFp8:
      return matmul_of_few<MatrixFormat::kFp8>(arguments, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

cudaError_t expand(const DeviceMatrix& matrix, uint16_t* out, cudaStream_t stream) {
  return launch_kernel({{matrix.rows, 1, 1}, {kThreads, 1, 1}, 0, stream}, expand_kernel, matrix, out);
}

}  // namespace deepserve::kernels::cuda
