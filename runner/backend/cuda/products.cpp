#include "runner/backend/cuda/products.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "kernels/cuda/elementwise.h"

namespace deepserve::runner::cuda {
namespace {

using kernels::cuda::DeviceMatrix;
using kernels::cuda::Epilogue;
using kernels::cuda::MatmulArguments;
using kernels::cuda::MatrixFormat;

// Of the tiles that fill a large GPU once or twice: with more nothing is cut.
constexpr uint64_t kPartialBytesMax = uint64_t{64} << 20;

// So much all parts of a product take.
uint64_t partial_bytes(uint64_t rows, uint64_t tokens) {
  constexpr uint64_t kTile = 128;
  const auto whole = [](uint64_t count) { return (count + kTile - 1) / kTile * kTile; };
  return whole(rows) * whole(tokens) * kernels::cuda::kColumnParts * sizeof(float);
}

uint64_t panel_elements(const DeviceMatrix& matrix) {
  return matrix.format == MatrixFormat::kBf16 ? 0 : uint64_t{matrix.rows} * matrix.padded_columns;
}

}  // namespace

uint64_t Products::carve(uint8_t* memory, const DeviceWeights& weights, bool for_library) {
  uint64_t panel = 0, gate_and_up = 0, rows = weights.output.rows;
  for (const DeviceLayer& layer : weights.layers) {
    std::vector<const DeviceMatrix*> matrices{&layer.attention_output, &layer.gate_and_up, &layer.down};
    for (const JoinedMatrix& joined : layer.query_key_value) matrices.push_back(&joined.matrix);
    for (const DeviceMatrix* matrix : matrices) {
      panel = std::max(panel, panel_elements(*matrix));
      rows = std::max<uint64_t>(rows, matrix->rows);
    }
    gate_and_up = std::max<uint64_t>(gate_and_up, layer.gate_and_up.rows);
  }
  Carver carver(memory);
  workspace_.bytes = kernels::cuda::kWideArrivals * sizeof(uint32_t) +
                     std::min(kPartialBytesMax, partial_bytes(rows, tokens_max_));
  workspace_.memory = carver.take<uint8_t>(workspace_.bytes);
  if (for_library) {
    panel_ = carver.take<uint16_t>(panel);
    gate_and_up_ = carver.take<float>(tokens_max_ * gate_and_up);
  }
  return carver.used_bytes();
}

uint64_t Products::workspace_bytes(const DeviceWeights& weights, const ProductsOptions& options) {
  Products products;
  products.tokens_max_ = options.tokens_max;
  const bool for_library = asks_library(options);
  return products.carve(nullptr, weights, for_library) + (for_library ? LibraryMatmul::kWorkspaceBytes : 0);
}

Result<Products> Products::make(const DeviceWeights& weights, const ProductsOptions& options) {
  Products products;
  products.tokens_max_ = options.tokens_max;
  products.workspace_.multiprocessors = options.multiprocessors;
  if (asks_library(options)) {
    if (const auto library = load_cublas_lt()) {
      TRY_ASSIGN(LibraryMatmul matmul, LibraryMatmul::make(**library));
      products.library_.emplace(std::move(matmul));
    } else {
      spdlog::warn("prompts are computed without cuBLASLt, more slowly: {}", library.error().message);
    }
  }
  const bool for_library = products.library_.has_value();
  TRY_ASSIGN(products.memory_, DeviceMemory::make(products.carve(nullptr, weights, for_library), "products"));
  products.carve(products.memory_.data(), weights, for_library);
  TRY(clear(products.workspace_.memory, kernels::cuda::kWideArrivals * sizeof(uint32_t)));
  return products;
}

Result<void> Products::run(MatmulArguments arguments, cudaStream_t stream) {
  if (library_ && arguments.tokens > kOwnTokens) return run_by_library(arguments, stream);
  arguments.workspace = workspace_;
  return launched(kernels::cuda::matmul(arguments, stream));
}

Result<void> Products::run_by_library(const MatmulArguments& arguments, cudaStream_t stream) {
  const DeviceMatrix& matrix = arguments.weights;
  const auto* weights = reinterpret_cast<const uint16_t*>(matrix.data);
  if (matrix.format != MatrixFormat::kBf16) {
    TRY(launched(kernels::cuda::expand(matrix, panel_, stream)));
    weights = panel_;
  }
  const bool is_swiglu = arguments.epilogue == Epilogue::kSwiglu;
  const uint32_t rounded = (arguments.tokens + kTokensUnit - 1) / kTokensUnit * kTokensUnit;
  WideProduct product{.weights = weights,
                      .inputs = arguments.inputs,
                      .out = is_swiglu ? gate_and_up_ : arguments.out,
                      .rows = matrix.rows,
                      .columns = matrix.padded_columns,
                      // Rows behind the step's are of an earlier step: what comes of them is never read.
                      .tokens = std::min(rounded, tokens_max_),
                      .input_stride = arguments.input_stride,
                      .out_stride = is_swiglu ? matrix.rows : arguments.out_stride,
                      .accumulate = arguments.epilogue == Epilogue::kAdd};
  if (arguments.bias != nullptr && !is_swiglu) {
    TRY(launched(kernels::cuda::put_bias({.bias = arguments.bias,
                                          .rows = matrix.rows,
                                          .count = arguments.tokens,
                                          .out = arguments.out,
                                          .out_stride = arguments.out_stride,
                                          .add = product.accumulate},
                                         stream)));
    product.accumulate = true;
  }
  TRY(library_->run(product, stream));
  if (!is_swiglu) return {};
  return launched(kernels::cuda::swiglu({.gate_and_up = gate_and_up_,
                                         .bias = arguments.bias,
                                         .rows = matrix.rows,
                                         .count = arguments.tokens,
                                         .out = arguments.out_bf16,
                                         .out_stride = arguments.out_stride},
                                        stream));
}

}  // namespace deepserve::runner::cuda
