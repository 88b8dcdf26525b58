// Products of many tokens by cuBLASLt, which picks its algorithm by the shape: faster than our own kernel,
// and of bits that depend on how many tokens there are.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "runner/backend/cuda/cublas_lt.h"
#include "runner/backend/cuda/device_memory.h"

namespace deepserve::runner::cuda {

// out[t][r] = sum over c of weights[r][c] * inputs[t][c], or added to it.
struct WideProduct {
  const uint16_t* weights;  // bf16 [rows, columns]
  const uint16_t* inputs;   // bf16 [tokens, input_stride]
  float* out;               // [tokens, out_stride]
  uint32_t rows;
  uint32_t columns;
  uint32_t tokens;
  uint32_t input_stride;  // elements
  uint32_t out_stride;
  bool accumulate = false;
};

class LibraryMatmul {
 public:
  static constexpr uint64_t kWorkspaceBytes = uint64_t{32} << 20;  // what NVIDIA advises for Hopper

  // `library` outlives the object. kDeviceFault: it cannot be set up.
  static Result<LibraryMatmul> make(const CublasLt& library);
  LibraryMatmul(LibraryMatmul&& other) noexcept;
  LibraryMatmul& operator=(LibraryMatmul&& other) noexcept;
  ~LibraryMatmul();

  // kNotSupported: it has no algorithm for this shape. What it found for a shape is kept.
  Result<void> run(const WideProduct& product, cudaStream_t stream);

 private:
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t weights = nullptr, inputs = nullptr, out = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };
  struct Shape {
    uint32_t rows, columns, tokens, input_stride, out_stride;
    bool operator==(const Shape&) const = default;
  };
  struct ShapeHash {
    size_t operator()(const Shape& shape) const;
  };

  explicit LibraryMatmul(const CublasLt& library) : library_(&library) {}
  Result<void> checked_library(cublasStatus_t status, const char* what) const;
  Result<const Plan*> plan_for(const Shape& shape);
  Result<void> describe(const Shape& shape, Plan& plan) const;
  Result<void> choose_algorithm(Plan& plan) const;
  void destroy(const Plan& plan) const;

  const CublasLt* library_;
  cublasLtHandle_t handle_ = nullptr;
  DeviceMemory workspace_;
  std::unordered_map<Shape, Plan, ShapeHash> plans_;
};

}  // namespace deepserve::runner::cuda
