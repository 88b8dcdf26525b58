// Products of a step's tokens with a matrix of weights: of few tokens by one warp for each part of the
// columns of 16 rows, of more by tiles that share weights and inputs (wide_matmul.h).
//
// Every output is the sum of kColumnParts partial sums, each of a range of columns that the matrix alone
// fixes, taken in the order of columns: what else is in the call changes no bit (DESIGN 8). Quantised weights
// are multiplied as the integers they are, and scaled block by block in float32.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/matrix.h"

namespace deepserve::kernels::cuda {

inline constexpr uint32_t kFewTokens = 8;
inline constexpr uint32_t kColumnParts = 8;

enum class Epilogue : uint8_t {
  kStore,   // out = product + bias
  kAdd,     // out += product + bias
  kSwiglu,  // out_bf16 = silu(gate + bias) * (up + bias), half as many as rows; zeros up to out_stride
};

// Memory for partial sums, one call's at a time. Its first kWideArrivals numbers must be zero before the
// first use; each use leaves them so. Without any, or with too little, products of few rows take longer.
inline constexpr uint32_t kWideArrivals = 4'096;
struct MatmulWorkspace {
  void* memory = nullptr;  // 16-byte aligned
  size_t bytes = 0;
  uint32_t multiprocessors = 1;  // of the GPU
};

struct MatmulArguments {
  DeviceMatrix weights;
  const uint16_t* inputs;  // [tokens, input_stride] bf16; zeros behind the model's columns
  uint32_t input_stride;   // elements, at least weights.padded_columns and a multiple of 8
  uint32_t tokens;
  const float* bias = nullptr;  // [weights.rows] or none
  Epilogue epilogue = Epilogue::kStore;
  float* out = nullptr;          // [tokens, out_stride]
  uint16_t* out_bf16 = nullptr;  // kSwiglu: the same
  uint32_t out_stride;           // elements
  MatmulWorkspace workspace = {};
};

// Any number of tokens. cudaErrorInvalidValue: a format or alignment that there is no kernel for.
cudaError_t matmul(const MatmulArguments& arguments, cudaStream_t stream);

// out[r][c] = weight (r, c) rounded to bf16, zeros behind the matrix's columns: [rows, padded_columns]. For
// products of many tokens by a library.
cudaError_t expand(const DeviceMatrix& matrix, uint16_t* out, cudaStream_t stream);

}  // namespace deepserve::kernels::cuda
