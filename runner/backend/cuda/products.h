// A step's products with matrices, each by whichever way suits it: our own kernel, whose sums are the same in
// any company, or for many tokens cuBLASLt.
#pragma once

#include <optional>

#include "kernels/cuda/matmul.h"
#include "runner/backend/cuda/device_weights.h"
#include "runner/backend/cuda/library_matmul.h"

namespace deepserve::runner::cuda {

class Products {
 public:
  static uint64_t workspace_bytes(const DeviceWeights& weights, uint32_t tokens_max, bool deterministic);
  // `deterministic`: our own kernel alone. So it is, with a warning, where there is no cuBLASLt.
  static Result<Products> make(const DeviceWeights& weights, uint32_t tokens_max, bool deterministic);

  bool deterministic() const { return !library_; }
  Result<void> run(const kernels::cuda::MatmulArguments& arguments, cudaStream_t stream);

 private:
  // Products of more tokens than this are the library's.
  static constexpr uint32_t kOwnTokens = kernels::cuda::kMatmulTokens;
  static constexpr uint32_t kTokensUnit = 16;  // of its shapes: fewer of them to look algorithms up for

  void carve(uint8_t* memory, const DeviceWeights& weights, uint64_t& used_bytes);
  Result<void> run_by_library(const kernels::cuda::MatmulArguments& arguments, cudaStream_t stream);

  uint32_t tokens_max_ = 0;
  std::optional<LibraryMatmul> library_;
  DeviceMemory memory_;
  uint16_t* panel_ = nullptr;     // the largest matrix that is not bf16, as bf16
  float* gate_and_up_ = nullptr;  // [tokens_max, rows]
};

}  // namespace deepserve::runner::cuda
