#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/weight_load.cuh"

namespace deepserve::kernels::cuda {
namespace {

constexpr unsigned kWarps = kColumnParts;
constexpr unsigned kThreads = 32 * kWarps;
constexpr unsigned kStepColumns = 64;  // that a warp reads at a time
constexpr unsigned kHalves = kStepColumns / 32;
constexpr unsigned kStepsAhead = 4;  // so many reads are under way

// A warp's part of 16 rows and kStepColumns columns. The sum over the columns may be taken in any order as
// long as weights and inputs agree: a thread holds of each 32 columns the eight from 8 * (lane % 4) on, which
// the tensor core takes for columns {2, 3, 10, 11} and so on of its own.
template <MatrixFormat kFormat>
struct WeightTile;

// Where a warp's rows lie: lane / 4 of a tile, and eight below it.
struct RowPair {
  const uint8_t* data[2];
  const uint8_t* scales[2];
};

// Products of weights that are bf16 pairs a with the inputs b of all token tiles.
template <unsigned kTiles>
__device__ void multiply(float (&sums)[kTiles][4], const uint32_t (&a)[2][4], const uint4 (&inputs)[kTiles]) {
#pragma unroll
  for (unsigned n = 0; n < kTiles; ++n) {
    mma_bf16(sums[n], a[0], {inputs[n].x, inputs[n].y});
    mma_bf16(sums[n], a[1], {inputs[n].z, inputs[n].w});
  }
}

template <>
struct WeightTile<MatrixFormat::kBf16> {
  uint4 words[2][kHalves];  // [row of the pair]

  __device__ void load(const RowPair& rows, uint32_t step, unsigned pair) {
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      for (unsigned half = 0; half < kHalves; ++half) {
        words[r][half] = load_once(rows.data[r] + (step * kStepColumns + half * 32 + pair * 8) * 2);
      }
    }
  }
  template <unsigned kTiles>
  __device__ void multiply_half(unsigned half, const uint4 (&inputs)[kTiles],
                                float (&sums)[kTiles][4]) const {
    const uint4 &upper = words[0][half], &lower = words[1][half];
    const uint32_t a[2][4] = {{upper.x, lower.x, upper.y, lower.y}, {upper.z, lower.z, upper.w, lower.w}};
    multiply(sums, a, inputs);
  }
};

// binary16 is the sum of two bf16: its first 8 bits and the rest, exactly.
template <>
struct WeightTile<MatrixFormat::kF16> : WeightTile<MatrixFormat::kBf16> {
  __device__ static void split(uint32_t f16_pair, uint32_t& high, uint32_t& low) {
    const float a = f16_to_float(static_cast<uint16_t>(f16_pair));
    const float b = f16_to_float(static_cast<uint16_t>(f16_pair >> 16));
    high = pack_bf16(a, b);
    low = pack_bf16(a - bf16_to_float(static_cast<uint16_t>(high)),
                    b - bf16_to_float(static_cast<uint16_t>(high >> 16)));
  }
  template <unsigned kTiles>
  __device__ void multiply_half(unsigned half, const uint4 (&inputs)[kTiles],
                                float (&sums)[kTiles][4]) const {
    const uint4 &upper = words[0][half], &lower = words[1][half];
    const uint32_t pairs[2][4] = {{upper.x, lower.x, upper.y, lower.y}, {upper.z, lower.z, upper.w, lower.w}};
    uint32_t high[2][4], low[2][4];
#pragma unroll
    for (unsigned i = 0; i < 8; ++i) split(pairs[i / 4][i % 4], high[i / 4][i % 4], low[i / 4][i % 4]);
    multiply(sums, high, inputs);
    multiply(sums, low, inputs);
  }
};

template <>
struct WeightTile<MatrixFormat::kQ8> {
  uint2 codes[2][kHalves];
  uint16_t scales[2][kHalves];

  __device__ void load(const RowPair& rows, uint32_t step, unsigned pair) {
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      for (unsigned half = 0; half < kHalves; ++half) {
        const uint32_t block = step * kHalves + half;
        codes[r][half] = *reinterpret_cast<const uint2*>(rows.data[r] + block * 32 + pair * 8);
        scales[r][half] = reinterpret_cast<const uint16_t*>(rows.scales[r])[block];
      }
    }
  }
  template <unsigned kTiles>
  __device__ void multiply_half(unsigned half, const uint4 (&inputs)[kTiles],
                                float (&sums)[kTiles][4]) const {
    const uint2 u0 = bytes_to_bf16(codes[0][half].x), u1 = bytes_to_bf16(codes[0][half].y);
    const uint2 l0 = bytes_to_bf16(codes[1][half].x), l1 = bytes_to_bf16(codes[1][half].y);
    const uint32_t a[2][4] = {{u0.x, l0.x, u0.y, l0.y}, {u1.x, l1.x, u1.y, l1.y}};
    float products[kTiles][4] = {};
    multiply(products, a, inputs);
    const float upper = f16_to_float(scales[0][half]), lower = f16_to_float(scales[1][half]);
#pragma unroll
    for (unsigned n = 0; n < kTiles; ++n) {
      for (unsigned i = 0; i < 4; ++i) sums[n][i] += products[n][i] * (i < 2 ? upper : lower);
    }
  }
};

template <>
struct WeightTile<MatrixFormat::kQ4K> {
  uint2 codes[2];    // of both halves: the lower and the upper four bits
  uint4 headers[2];  // of the row's block of 256
  uint32_t sub;      // the first half's part of the block, of 8

  __device__ void load(const RowPair& rows, uint32_t step, unsigned pair) {
    const uint32_t block = step / 4;
    sub = step % 4 * 2;
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) {
      const uint8_t* at = rows.data[r] + block * kQ4KBytes;
      headers[r] = *reinterpret_cast<const uint4*>(at);
      codes[r] = *reinterpret_cast<const uint2*>(at + 16 + step % 4 * 32 + pair * 8);
    }
  }
  template <unsigned kTiles>
  __device__ void multiply_half(unsigned half, const uint4 (&inputs)[kTiles],
                                float (&sums)[kTiles][4]) const {
    const unsigned shift = 4 * half;
    const auto nibbles = [&](uint32_t word) { return bytes_to_bf16(word >> shift & 0x0f0f0f0f); };
    const uint2 u0 = nibbles(codes[0].x), u1 = nibbles(codes[0].y);
    const uint2 l0 = nibbles(codes[1].x), l1 = nibbles(codes[1].y);
    const uint32_t a[2][4] = {{u0.x, l0.x, u0.y, l0.y}, {u1.x, l1.x, u1.y, l1.y}};
    constexpr uint32_t kOnes = 0x3f803f80;
    const uint32_t ones[2][4] = {{kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes, kOnes, kOnes}};
    float products[kTiles][4] = {}, input_sums[kTiles][4] = {};
    multiply(products, a, inputs);
    multiply(input_sums, ones, inputs);
    float scales[2], minimums[2];
#pragma unroll
    for (unsigned r = 0; r < 2; ++r) q4k_scale(headers[r], sub + half, scales[r], minimums[r]);
#pragma unroll
    for (unsigned n = 0; n < kTiles; ++n) {
      for (unsigned i = 0; i < 4; ++i) {
        sums[n][i] += products[n][i] * scales[i / 2] - input_sums[n][i] * minimums[i / 2];
      }
    }
  }
};

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
