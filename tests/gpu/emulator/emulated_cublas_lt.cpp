// cuBLASLt's products as its documentation states them, column-major, in float64; and the way by which
// runner/backend/cuda finds it in place of dlopen.
#include <cublasLt.h>

#include <vector>

#include "kernels/cpu/float16.h"
#include "runner/backend/cuda/cublas_lt.h"

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque_t {
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType type;
  uint64_t rows, columns;
  int64_t stride;
};
struct cublasLtMatmulPreferenceOpaque_t {};

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
                                               : "CUBLAS_STATUS_INVALID_VALUE";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
  *desc = new cublasLtMatmulDescOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t name,
                                              const void* value, size_t bytes) {
  if (bytes != sizeof(cublasOperation_t)) return CUBLAS_STATUS_INVALID_VALUE;
  (name == CUBLASLT_MATMUL_DESC_TRANSA ? desc->a : desc->b) = *static_cast<const cublasOperation_t*>(value);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t stride) {
  if (stride < static_cast<int64_t>(rows)) return CUBLAS_STATUS_INVALID_VALUE;
  *layout = new cublasLtMatrixLayoutOpaque_t{type, rows, columns, stride};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t, const void*,
                                                    size_t bytes) {
  return bytes == sizeof(size_t) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t, int,
                                              cublasLtMatmulHeuristicResult_t results[], int* count) {
  // As the library, which wants 16-byte columns of 16-bit matrices for its tensor core algorithms.
  const bool is_known = a->type == CUDA_R_16BF && b->type == CUDA_R_16BF && d->type == CUDA_R_32F &&
                        a->stride % 8 == 0 && b->stride % 8 == 0;
  *count = is_known ? 1 : 0;
  results[0] = {};
  return is_known ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

namespace {

// The matrix's numbers, those that are summed over side by side: [outer][inner].
std::vector<float> numbers(const void* data, const cublasLtMatrixLayoutOpaque_t& layout, bool inner_is_rows) {
  const uint64_t outer = inner_is_rows ? layout.columns : layout.rows;
  const uint64_t inner = inner_is_rows ? layout.rows : layout.columns;
  std::vector<float> values(outer * inner);
  for (uint64_t o = 0; o < outer; ++o) {
    for (uint64_t i = 0; i < inner; ++i) {
      const uint64_t row = inner_is_rows ? i : o, column = inner_is_rows ? o : i;
      const uint64_t at = column * static_cast<uint64_t>(layout.stride) + row;
      values[o * inner + i] = deepserve::kernels::bfloat16_to_float(static_cast<const uint16_t*>(data)[at]);
    }
  }
  return values;
}

// In four sums, so that the compiler may take them side by side.
double dot(const float* a, const float* b, uint64_t count) {
  double sums[4] = {};
  for (uint64_t i = 0; i < count; ++i) sums[i % 4] += double{a[i]} * b[i];
  return sums[0] + sums[1] + sums[2] + sums[3];
}

}  // namespace

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t*, void*, size_t,
                              cudaStream_t stream) {
  const bool a_turned = desc->a == CUBLAS_OP_T, b_turned = desc->b == CUBLAS_OP_T;
  const uint64_t rows = a_turned ? a_layout->columns : a_layout->rows;
  const uint64_t inner = a_turned ? a_layout->rows : a_layout->columns;
  const uint64_t columns = b_turned ? b_layout->rows : b_layout->columns;
  if ((b_turned ? b_layout->columns : b_layout->rows) != inner || d_layout->rows != rows ||
      d_layout->columns != columns || c != d || c_layout->stride != d_layout->stride) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const float scale = *static_cast<const float*>(alpha), kept = *static_cast<const float*>(beta);
  auto* out = static_cast<float*>(d);
  // By value: the layouts may be gone when it runs.
  auto work = [=, left = *a_layout, right = *b_layout, stride = d_layout->stride] {
    const auto lefts = numbers(a, left, a_turned), rights = numbers(b, right, !b_turned);
    for (uint64_t column = 0; column < columns; ++column) {
      for (uint64_t row = 0; row < rows; ++row) {
        const double sum = dot(&lefts[row * inner], &rights[column * inner], inner);
        float& to = out[column * static_cast<uint64_t>(stride) + row];
        to = static_cast<float>(scale * sum) + (kept == 0 ? 0 : kept * to);
      }
    }
  };
  return deepserve::emulator::launch({{1, 1, 1}, {1, 1, 1}, 0}, stream, work) == 0
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_INVALID_VALUE;
}

namespace deepserve::runner::cuda {

Result<const CublasLt*> load_cublas_lt() {
  static const CublasLt table{cublasLtCreate,
                              cublasLtDestroy,
                              cublasLtGetStatusString,
                              cublasLtMatmulDescCreate,
                              cublasLtMatmulDescDestroy,
                              cublasLtMatmulDescSetAttribute,
                              cublasLtMatrixLayoutCreate,
                              cublasLtMatrixLayoutDestroy,
                              cublasLtMatmulPreferenceCreate,
                              cublasLtMatmulPreferenceDestroy,
                              cublasLtMatmulPreferenceSetAttribute,
                              cublasLtMatmulAlgoGetHeuristic,
                              cublasLtMatmul};
  return &table;
}

}  // namespace deepserve::runner::cuda
