#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul_result.cuh"
#include "kernels/cuda/weight_stage.cuh"
#include "kernels/cuda/wide_matmul.h"

namespace deepserve::kernels::cuda {
namespace {

constexpr unsigned kWarps = 8;
constexpr unsigned kThreads = 32 * kWarps;
constexpr unsigned kRingBytes = 96 << 10;  // fits every GPU from sm_80 on; two of them fit an sm_90
constexpr unsigned kStagesMax = 6;

// The sums of kRowTiles x kTokenTiles tiles of 16 rows and 8 tokens, as a thread has them.
template <unsigned kRowTiles, unsigned kTokenTiles>
struct TileSums {
  float values[kRowTiles][kTokenTiles][4];

  __device__ void clear() {
#pragma unroll
    for (unsigned m = 0; m < kRowTiles; ++m) {
      for (unsigned n = 0; n < kTokenTiles; ++n) {
        for (unsigned i = 0; i < 4; ++i) values[m][n][i] = 0;
      }
    }
  }
  __device__ void add(const TileSums& part) {
#pragma unroll
    for (unsigned m = 0; m < kRowTiles; ++m) {
      for (unsigned n = 0; n < kTokenTiles; ++n) {
        for (unsigned i = 0; i < 4; ++i) values[m][n][i] += part.values[m][n][i];
      }
    }
  }
  // To and from [tiles][threads] of float4.
  __device__ void write(float4* to) const {
#pragma unroll
    for (unsigned m = 0; m < kRowTiles; ++m) {
      for (unsigned n = 0; n < kTokenTiles; ++n) {
        const auto& v = values[m][n];
        to[(m * kTokenTiles + n) * kThreads + threadIdx.x] = make_float4(v[0], v[1], v[2], v[3]);
      }
    }
  }
  __device__ void read(const float4* from) {
#pragma unroll
    for (unsigned m = 0; m < kRowTiles; ++m) {
      for (unsigned n = 0; n < kTokenTiles; ++n) {
        const float4 v = from[(m * kTokenTiles + n) * kThreads + threadIdx.x];
        values[m][n][0] = v.x;
        values[m][n][1] = v.y;
        values[m][n][2] = v.z;
        values[m][n][3] = v.w;
      }
    }
  }
};

template <MatrixFormat kFormat, unsigned kTokens>
struct Wide {
  using Stage = WeightStage<kFormat>;
  // Few tokens: a warp has 16 rows and all tokens. Many: 64 rows and a quarter of them.
  static constexpr unsigned kTokenWarps = kTokens == 128 ? 4 : 1;
  static constexpr unsigned kRowTiles = kWideRows / (kWarps / kTokenWarps) / 16;
  static constexpr unsigned kTokenTiles = kTokens / kTokenWarps / 8;
  // Codes and scales take registers besides, and fewer bytes have to be under way.
  static constexpr bool kIsQuantised = Stage::kRowPieces < 8;
  // To have both halves of a step at hand.
  static constexpr bool kHasNoRegisters = kTokens == 128 && kIsQuantised;
  static constexpr unsigned kResident = kTokens <= (kIsQuantised ? 32 : 64) ? 2 : 1;
  // Of few tokens the copies under way in a block are several times what it gets of the memory's speed.
  static constexpr double kAlone = kTokens <= 32 ? 3 : kTokens == 64 ? 2 : 1;
  using Sums = TileSums<kRowTiles, kTokenTiles>;

  static constexpr unsigned kInputsAt = kWideRows * Stage::kRowPieces * 16;  // of a stage
  static constexpr unsigned kStageBytes = kInputsAt + kTokens * kStepColumns * 2;
  static constexpr unsigned kFitting = kRingBytes / kStageBytes;
  static constexpr unsigned kStages = kFitting < kStagesMax ? kFitting : kStagesMax;
  static constexpr unsigned kSharedBytes = kStages * kStageBytes;
  static constexpr size_t kPartBytes = size_t{kRowTiles} * kTokenTiles * kThreads * sizeof(float4);

  // Inputs lie as weights of two bytes do: [half][token][32 columns].
  __device__ static unsigned input_at(unsigned half, unsigned token) {
    return kInputsAt + (half * kTokens + (token ^ half)) * 64;
  }

  // Asks for the weights that a step needs, of the rows that there are; zeros for the others.
  __device__ static void issue_weights(const DeviceMatrix& matrix, uint32_t first_row, uint32_t step,
                                       uint8_t* stage) {
#pragma unroll
    for (unsigned i = threadIdx.x; i < kWideRows * Stage::kRowPieces; i += kThreads) {
      const unsigned row = i / Stage::kRowPieces, piece = i % Stage::kRowPieces;
      copy_async_16(stage + Stage::place(row, piece), Stage::source(matrix, first_row + row, step, piece),
                    first_row + row < matrix.rows);
    }
  }

  // The same for inputs and tokens.
  __device__ static void issue_inputs(const MatmulArguments& arguments, uint32_t first_token, uint32_t step,
                                      uint8_t* stage) {
#pragma unroll
    for (unsigned i = threadIdx.x; i < kTokens * 8; i += kThreads) {
      const unsigned token = i / 8, piece = i % 8;
      const uint16_t* from = arguments.inputs + size_t{first_token + token} * arguments.input_stride +
                             step * kStepColumns + piece * 8;
      copy_async_16(stage + input_at(piece / 4, token) + piece % 4 * 16, from,
                    first_token + token < arguments.tokens);
    }
  }

  // All stages but one, from `step` on; the weights ahead of the kernel's turn.
  __device__ static void begin(const MatmulArguments& arguments, uint32_t first_row, uint32_t first_token,
                               uint32_t step, uint32_t end, uint8_t* ring) {
    let_next_kernel_begin();
#pragma unroll
    for (unsigned i = 0; i + 1 < kStages; ++i) {
      if (step + i < end) issue_weights(arguments.weights, first_row, step + i, ring + i * kStageBytes);
    }
    wait_for_kernels_before();
#pragma unroll 1
    for (unsigned i = 0; i + 1 < kStages; ++i) {
      if (step + i < end) issue_inputs(arguments, first_token, step + i, ring + i * kStageBytes);
      copies_commit();
    }
  }

  __device__ static void multiply_step(const uint8_t* stage, uint32_t step, Sums& sums) {
    const unsigned warp = threadIdx.x / 32, group = lane_index() / 4, pair = lane_index() % 4;
    const unsigned token = warp % kTokenWarps * (kTokenTiles * 8) + group;
    const unsigned row = warp / kTokenWarps * (kRowTiles * 16) + group;
#pragma unroll(kHasNoRegisters ? 1 : 2)
    for (unsigned half = 0; half < kHalves; ++half) {
      uint4 inputs[kTokenTiles];
#pragma unroll
      for (unsigned n = 0; n < kTokenTiles; ++n) {
        inputs[n] = *reinterpret_cast<const uint4*>(stage + input_at(half, token + n * 8) + pair * 16);
      }
#pragma unroll
      for (unsigned m = 0; m < kRowTiles; ++m) {
        WeightTile<kFormat> tile;
        Stage::fetch(tile, stage, row + m * 16, pair, step, half);
        tile.multiply_half(Stage::taken_as(half), inputs, sums.values[m]);
      }
    }
  }

  __device__ static void put(const MatmulArguments& arguments, uint32_t first_row, uint32_t first_token,
                             const Sums& sums) {
    const unsigned warp = threadIdx.x / 32, group = lane_index() / 4, pair = lane_index() % 4;
    const uint32_t row = first_row + warp / kTokenWarps * (kRowTiles * 16) + group;
    const uint32_t token = first_token + warp % kTokenWarps * (kTokenTiles * 8) + 2 * pair;
    const bool is_swiglu = arguments.epilogue == Epilogue::kSwiglu;
#pragma unroll
    for (unsigned m = 0; m < kRowTiles; ++m) {
      for (unsigned n = 0; n < kTokenTiles; ++n) {
        const auto& v = sums.values[m][n];
        for (unsigned i = 0; i < 2; ++i) {
          if (token + n * 8 + i >= arguments.tokens) continue;
          put_product(arguments, token + n * 8 + i, row + m * 16, v[i], v[2 + i]);
          if (!is_swiglu) put_product(arguments, token + n * 8 + i, row + m * 16 + 8, v[2 + i], 0);
        }
      }
    }
  }
};

// blockIdx.x: tile of tokens, so that neighbours share weights; blockIdx.y: tile of rows; blockIdx.z: which
// of gridDim.z shares of the parts of the columns.
template <MatrixFormat kFormat, unsigned kTokens>
__global__ void __launch_bounds__(kThreads, (Wide<kFormat, kTokens>::kResident))
    wide_matmul_kernel(const MatmulArguments arguments) {
  using W = Wide<kFormat, kTokens>;
  __shared__ uint32_t flag;
  const uint32_t first_token = blockIdx.x * kTokens, first_row = blockIdx.y * kWideRows;
  const uint32_t steps = arguments.weights.padded_columns / kStepColumns;
  const unsigned parts = kColumnParts / gridDim.z, first_part = blockIdx.z * parts;
  const uint32_t end = steps * (first_part + parts) / kColumnParts;
  uint32_t step = steps * first_part / kColumnParts;
  uint8_t* ring = dynamic_shared();
  W::begin(arguments, first_row, first_token, step, end, ring);
  const uint32_t tile = blockIdx.y * gridDim.x + blockIdx.x;
  auto* arrivals = static_cast<uint32_t*>(arguments.workspace.memory) + tile;
  auto* partial =
      reinterpret_cast<float4*>(static_cast<uint8_t*>(arguments.workspace.memory) +
                                kWideArrivals * sizeof(uint32_t) + tile * kColumnParts * W::kPartBytes);
  constexpr size_t kPart = W::kPartBytes / sizeof(float4);
  typename W::Sums all, sums;
  all.clear();
  unsigned slot = 0;
#pragma unroll 1
  for (unsigned part = first_part; part < first_part + parts; ++part) {
    sums.clear();
    const uint32_t part_end = steps * (part + 1) / kColumnParts;
#pragma unroll 1
    for (; step < part_end; ++step) {
      copies_wait<W::kStages - 2>();
      __syncthreads();  // all have arrived, and nobody uses the stage before
      const unsigned freed = slot == 0 ? W::kStages - 1 : slot - 1;
      const uint32_t wanted = step + W::kStages - 1;
      if (wanted < end) {
        W::issue_weights(arguments.weights, first_row, wanted, ring + freed * W::kStageBytes);
        W::issue_inputs(arguments, first_token, wanted, ring + freed * W::kStageBytes);
      }
      copies_commit();
      W::multiply_step(ring + slot * W::kStageBytes, step, sums);
      slot = slot + 1 == W::kStages ? 0 : slot + 1;
    }
    if (gridDim.z == 1)
      all.add(sums);
    else
      sums.write(partial + part * kPart);
  }
  if (gridDim.z > 1) {
    __syncthreads();
    if (threadIdx.x == 0) {
      const bool is_last = add_and_see(arrivals, 1) + 1 == gridDim.z;
      if (is_last) *arrivals = 0;
      flag = is_last;
    }
    __syncthreads();
    if (flag == 0) return;
#pragma unroll 1
    for (unsigned part = 0; part < kColumnParts; ++part) {
      sums.read(partial + part * kPart);
      all.add(sums);
    }
  }
  W::put(arguments, first_row, first_token, all);
}

// What the choice of shares_for knows of a kernel.
struct WideCost {
  size_t part_bytes;     // of a tile's partial sums
  unsigned stage_bytes;  // that a step's copies are
  unsigned resident;     // blocks on a multiprocessor
  double alone;          // so many times as fast is a block when few others run
};

// Into how many shares the parts are cut: where there are fewer tiles than the GPU runs blocks at once, more
// of them are worth what writing and reading partial sums takes. In units of a step's copies while all blocks
// run at once; the last ones of a launch, which do not, share the memory's speed among fewer.
unsigned shares_for(const MatmulArguments& arguments, uint32_t tiles, const WideCost& kernel) {
  const MatmulWorkspace& workspace = arguments.workspace;
  const size_t needed = kWideArrivals * sizeof(uint32_t) + tiles * kColumnParts * kernel.part_bytes;
  if (workspace.memory == nullptr || needed > workspace.bytes || tiles > kWideArrivals) return 1;
  const double steps = arguments.weights.padded_columns / kStepColumns;
  const double flush = 2.0 * static_cast<double>(kernel.part_bytes) / kernel.stage_bytes;
  const uint32_t slots = std::max(1u, workspace.multiprocessors) * kernel.resident;
  unsigned best = 1;
  double least = 0;
  for (unsigned shares = 1; shares <= kColumnParts; shares *= 2) {
    const uint32_t blocks = tiles * shares, last = blocks % slots;
    double rounds = blocks / slots;
    if (last > 0) rounds += std::max(static_cast<double>(last) / slots, 1 / kernel.alone);
    const double written = shares == 1 ? 0 : kColumnParts * flush;
    const double cost = rounds * (steps + written) / shares;
    if (shares > 1 && cost >= least) continue;
    least = cost;
    best = shares;
  }
  return best;
}

template <MatrixFormat kFormat, unsigned kTokens>
cudaError_t launch_wide(const MatmulArguments& arguments, cudaStream_t stream) {
  using W = Wide<kFormat, kTokens>;
  const uint32_t token_tiles = (arguments.tokens + kTokens - 1) / kTokens;
  const uint32_t row_tiles = (arguments.weights.rows + kWideRows - 1) / kWideRows;
  const auto kernel = wide_matmul_kernel<kFormat, kTokens>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, W::kSharedBytes);
  if (error != cudaSuccess) return error;
  const unsigned shares = shares_for(arguments, token_tiles * row_tiles,
                                     {W::kPartBytes, W::kStageBytes, W::kResident, W::kAlone});
  return launch_kernel({{token_tiles, row_tiles, shares}, {kThreads, 1, 1}, W::kSharedBytes, stream}, kernel,
                       arguments);
}

template <MatrixFormat kFormat>
cudaError_t wide_matmul_of(const MatmulArguments& arguments, cudaStream_t stream) {
  if (arguments.tokens <= 16) return launch_wide<kFormat, 16>(arguments, stream);
  if (arguments.tokens <= 32) return launch_wide<kFormat, 32>(arguments, stream);
  if (arguments.tokens <= 64) return launch_wide<kFormat, 64>(arguments, stream);
  return launch_wide<kFormat, 128>(arguments, stream);
}

}  // namespace

cudaError_t wide_matmul(const MatmulArguments& arguments, cudaStream_t stream) {
  switch (arguments.weights.format) {
    case MatrixFormat::kBf16:
      return wide_matmul_of<MatrixFormat::kBf16>(arguments, stream);
    case MatrixFormat::kF16:
      return wide_matmul_of<MatrixFormat::kF16>(arguments, stream);
    case MatrixFormat::kQ8:
      return wide_matmul_of<MatrixFormat::kQ8>(arguments, stream);
    case MatrixFormat::kQ4K:
      return wide_matmul_of<MatrixFormat::kQ4K>(arguments, stream);
    case MatrixFormat::kFp8:
      return wide_matmul_of<MatrixFormat::kFp8>(arguments, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace deepserve::kernels::cuda
