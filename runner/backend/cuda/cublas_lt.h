// NVIDIA's library for matrix products, loaded when it is there: a table of those of its functions that we
// call (cuBLAS documentation, "Using the cuBLASLt API").
#pragma once

#include <cublasLt.h>

#include "ipc/base/result.h"

namespace deepserve::runner::cuda {

struct CublasLt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtGetStatusString) status_string;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
  decltype(&cublasLtMatmul) matmul;
};

// The library of this process, opened at the first call, before the sandbox closes the file system. kIo:
// there is none, or one that lacks a function; every later call says so again.
Result<const CublasLt*> load_cublas_lt();

}  // namespace deepserve::runner::cuda
