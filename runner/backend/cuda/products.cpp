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

Result<void> launched(cudaError_t error) {
  return checked(error, "starting a kernel");
}

uint64_t panel_elements(const DeviceMatrix& matrix) {
  return matrix.format == MatrixFormat::kBf16 ? 0 : uint64_t{matrix.rows} * matrix.padded_columns;
}

}  // namespace

void Products::carve(uint8_t* memory, const DeviceWeights& weights, uint64_t& used_bytes) {
  uint64_t panel = 0, rows = 0;
  for (const DeviceLayer& layer : weights.layers) {
    for (const JoinedMatrix& joined : layer.query_key_value)
      panel = std::max(panel, panel_elements(joined.matrix));
    for (const DeviceMatrix* matrix : {&layer.attention_output, &layer.gate_and_up, &layer.down}) {
      panel = std::max(panel, panel_elements(*matrix));
    }
    rows = std::max<uint64_t>(rows, layer.gate_and_up.rows);
  }
  Carver carver(memory);
  panel_ = carver.take<uint16_t>(panel);
  gate_and_up_ = carver.take<float>(tokens_max_ * rows);
  used_bytes = carver.used_bytes();
}

uint64_t Products::workspace_bytes(const DeviceWeights& weights, uint32_t tokens_max, bool deterministic) {
  if (deterministic || tokens_max <= kOwnTokens) return 0;
  Products products;
  products.tokens_max_ = tokens_max;
  uint64_t bytes = 0;
  products.carve(nullptr, weights, bytes);
  return bytes + LibraryMatmul::kWorkspaceBytes;
}

Result<Products> Products::make(const DeviceWeights& weights, uint32_t tokens_max, bool deterministic) {
  Products products;
  products.tokens_max_ = tokens_max;
  if (deterministic || tokens_max <= kOwnTokens) return products;
  const auto library = load_cublas_lt();
  if (!library) {
    spdlog::warn("prompts are computed without cuBLASLt, more slowly: {}", library.error().message);
    return products;
  }
  TRY_ASSIGN(LibraryMatmul matmul, LibraryMatmul::make(**library));
  products.library_.emplace(std::move(matmul));
  uint64_t bytes = 0;
  products.carve(nullptr, weights, bytes);
  TRY_ASSIGN(products.memory_, DeviceMemory::make(bytes, "products of many tokens"));
  products.carve(products.memory_.data(), weights, bytes);
  return products;
}

Result<void> Products::run(const MatmulArguments& arguments, cudaStream_t stream) {
  if (library_ && arguments.tokens > kOwnTokens) return run_by_library(arguments, stream);
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
