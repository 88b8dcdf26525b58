#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/weight_tile.cuh"

namespace deepserve::kernels::cuda {
namespace {

constexpr unsigned kWarps = kColumnParts;
constexpr unsigned kThreads = 32 * kWarps;
constexpr unsigned kStepsAhead = 4;  // so many reads are under way

// The inputs of this thread's columns, of the token lane / 4 of each tile.
template <unsigned kTiles>
__device__ void load_inputs(uint4 (&inputs)[kTiles], const MatmulArguments& arguments, uint32_t first_token,
                            uint32_t column) {
#pragma unroll
  for (unsigned n = 0; n < kTiles; ++n) {
    const uint32_t token = first_token + n * 8 + lane_index() / 4;
    inputs[n] = {0, 0, 0, 0};
    if (token < arguments.tokens) {
      inputs[n] =
          *reinterpret_cast<const uint4*>(arguments.inputs + size_t{token} * arguments.input_stride + column);
    }
  }
}

template <MatrixFormat kFormat, unsigned kTiles>
__device__ void sum_part(const MatmulArguments& arguments, uint32_t first_token, float (&sums)[kTiles][4]) {
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
        load_inputs(inputs, arguments, first_token, step * kStepColumns + half * 32 + pair * 8);
        tile.multiply_half(half, inputs, sums);
      }
    }
  }
}

__device__ float silu(float x) {
  return x / (1.0f + expf(-x));
}

// `sum` of row `row` of a tile and `token`, and for kSwiglu of the row of up beside it.
__device__ void put(const MatmulArguments& arguments, uint32_t token, uint32_t row, float sum, float up) {
  const uint32_t at = blockIdx.x * kTileRows + row;
  const bool has_bias = arguments.bias != nullptr;
  if (arguments.epilogue == Epilogue::kSwiglu) {
    const uint32_t column = blockIdx.x * kGateRows + row;
    if (column >= arguments.out_stride) return;
    const float gate = sum + (has_bias ? arguments.bias[at] : 0.0f);
    up += has_bias ? arguments.bias[at + kGateRows] : 0.0f;
    arguments.out_bf16[size_t{token} * arguments.out_stride + column] =
        static_cast<uint16_t>(pack_bf16(silu(gate) * up, 0));
    return;
  }
  if (at >= arguments.weights.rows) return;
  float* out = arguments.out + size_t{token} * arguments.out_stride + at;
  const float value = sum + (has_bias ? arguments.bias[at] : 0.0f);
  *out = arguments.epilogue == Epilogue::kAdd ? *out + value : value;
}

// blockIdx.x: tile of rows; blockIdx.y: kTiles * 8 tokens. A warp has one part of the columns.
template <MatrixFormat kFormat, unsigned kTiles>
__global__ void __launch_bounds__(kThreads) matmul_kernel(const MatmulArguments arguments) {
  constexpr unsigned kTokens = kTiles * 8;
  const unsigned warp = threadIdx.x / 32, group = lane_index() / 4, pair = lane_index() % 4;
  const uint32_t first_token = blockIdx.y * kTokens;
  float sums[kTiles][4] = {};
  sum_part<kFormat, kTiles>(arguments, first_token, sums);

  auto* parts = reinterpret_cast<float*>(dynamic_shared());  // [kWarps][kTokens][kTileRows]
#pragma unroll
  for (unsigned n = 0; n < kTiles; ++n) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned token = n * 8 + 2 * pair + i % 2, row = group + i / 2 * 8;
      parts[(warp * kTokens + token) * kTileRows + row] = sums[n][i];
    }
  }
  __syncthreads();
  const bool is_swiglu = arguments.epilogue == Epilogue::kSwiglu;
  const unsigned rows = is_swiglu ? kGateRows : kTileRows;
  for (unsigned i = threadIdx.x; i < kTokens * rows; i += kThreads) {
    const unsigned token = i / rows, row = i % rows;
    if (first_token + token >= arguments.tokens) continue;
    float sum = 0, up = 0;
    for (unsigned w = 0; w < kWarps; ++w) {
      const float* of_token = parts + (w * kTokens + token) * kTileRows;
      sum += of_token[row];
      if (is_swiglu) up += of_token[row + kGateRows];
    }
    put(arguments, first_token + token, row, sum, up);
  }
}

template <MatrixFormat kFormat, unsigned kTiles>
cudaError_t launch_matmul(const MatmulArguments& arguments, cudaStream_t stream) {
  constexpr unsigned kTokens = kTiles * 8;
  const unsigned tiles = (arguments.weights.rows + kTileRows - 1) / kTileRows;
  return launch_kernel({{tiles, (arguments.tokens + kTokens - 1) / kTokens, 1},
                        {kThreads, 1, 1},
                        kWarps * kTokens * kTileRows * sizeof(float),
                        stream},
                       matmul_kernel<kFormat, kTiles>, arguments);
}

template <MatrixFormat kFormat>
cudaError_t matmul_of(const MatmulArguments& arguments, cudaStream_t stream) {
  if (arguments.tokens <= 8) return launch_matmul<kFormat, 1>(arguments, stream);
  if (arguments.tokens <= 16) return launch_matmul<kFormat, 2>(arguments, stream);
  if (arguments.tokens <= 32) return launch_matmul<kFormat, 4>(arguments, stream);
  return launch_matmul<kFormat, kMatmulTokens / 8>(arguments, stream);
}

__global__ void expand_kernel(const DeviceMatrix matrix, uint16_t* out) {
  const uint32_t row = blockIdx.x;
  for (uint32_t i = threadIdx.x; i < matrix.padded_columns; i += kThreads) {
    const float value = i < matrix.columns ? weight_at(matrix, row, i) : 0.0f;
    out[size_t{row} * matrix.padded_columns + i] = static_cast<uint16_t>(pack_bf16(value, 0));
  }
}

}  // namespace

cudaError_t matmul(const MatmulArguments& arguments, cudaStream_t stream) {
  const bool is_aligned = arguments.input_stride % 8 == 0 && arguments.weights.row_bytes % 16 == 0;
  if (!is_aligned || arguments.input_stride < arguments.weights.padded_columns) return cudaErrorInvalidValue;
  switch (arguments.weights.format) {
    case MatrixFormat::kBf16:
      return matmul_of<MatrixFormat::kBf16>(arguments, stream);
    case MatrixFormat::kF16:
      return matmul_of<MatrixFormat::kF16>(arguments, stream);
    case MatrixFormat::kQ8:
      return matmul_of<MatrixFormat::kQ8>(arguments, stream);
    case MatrixFormat::kQ4K:
      return matmul_of<MatrixFormat::kQ4K>(arguments, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

cudaError_t expand(const DeviceMatrix& matrix, uint16_t* out, cudaStream_t stream) {
  return launch_kernel({{matrix.rows, 1, 1}, {kThreads, 1, 1}, 0, stream}, expand_kernel, matrix, out);
}

}  // namespace deepserve::kernels::cuda
