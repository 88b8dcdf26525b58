// A step's products with matrices, each by whichever way suits it: our own kernels, whose sums are the same
// in any company, or for many tokens cuBLASLt.
#pragma once

#include <optional>

#include "kernels/cuda/matmul.h"
#include "runner/backend/cuda/device_weights.h"
#include "runner/backend/cuda/library_matmul.h"

namespace deepserve::runner::cuda {

struct ProductsOptions {
  uint32_t tokens_max = 0;
  bool deterministic = false;  // our own kernels alone
  uint32_t multiprocessors = 1;
};

class Products {
 public:
  static uint64_t workspace_bytes(const DeviceWeights& weights, const ProductsOptions& options);
  // Deterministic, with a warning, where there is no cuBLASLt too.
  static Result<Products> make(const DeviceWeights& weights, const ProductsOptions& options);

  bool deterministic() const { return !library_; }
  // `arguments` without their workspace.
  Result<void> run(kernels::cuda::MatmulArguments arguments, cudaStream_t stream);

 private:
  // Products of more tokens than this are the library's.
  static constexpr uint32_t kOwnTokens = 64;
  static constexpr uint32_t kTokensUnit = 16;  // of its shapes: fewer of them to look algorithms up for

  static bool asks_library(const ProductsOptions& options) {
    return !options.deterministic && options.tokens_max > kOwnTokens;
  }
  uint64_t carve(uint8_t* memory, const DeviceWeights& weights, bool for_library);
  Result<void> run_by_library(const kernels::cuda::MatmulArguments& arguments, cudaStream_t stream);

  uint32_t tokens_max_ = 0;
  std::optional<LibraryMatmul> library_;
  DeviceMemory memory_;
  kernels::cuda::MatmulWorkspace workspace_;
  uint16_t* panel_ = nullptr;     // the largest matrix that is not bf16, as bf16
  float* gate_and_up_ = nullptr;  // [tokens_max, rows]
};

}  // namespace deepserve::runner::cuda
