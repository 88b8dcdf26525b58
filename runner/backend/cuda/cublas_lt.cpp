#include "runner/backend/cuda/cublas_lt.h"

#include <dlfcn.h>

namespace deepserve::runner::cuda {
namespace {

constexpr const char* kName = "libcublasLt.so.13";  // of CUDA 13, as nvcc's headers

template <typename Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

Result<CublasLt> open_library() {
  void* library = dlopen(kName, RTLD_NOW | RTLD_LOCAL);  // stays open as long as the process lives
  if (library == nullptr) return fail(Code::kIo, "{}", dlerror());
  CublasLt table{};
  const bool is_whole = find(library, "cublasLtCreate", table.create) &&
                        find(library, "cublasLtDestroy", table.destroy) &&
                        find(library, "cublasLtGetStatusString", table.status_string) &&
                        find(library, "cublasLtMatmulDescCreate", table.desc_create) &&
                        find(library, "cublasLtMatmulDescDestroy", table.desc_destroy) &&
                        find(library, "cublasLtMatmulDescSetAttribute", table.desc_set) &&
                        find(library, "cublasLtMatrixLayoutCreate", table.layout_create) &&
                        find(library, "cublasLtMatrixLayoutDestroy", table.layout_destroy) &&
                        find(library, "cublasLtMatmulPreferenceCreate", table.preference_create) &&
                        find(library, "cublasLtMatmulPreferenceDestroy", table.preference_destroy) &&
                        find(library, "cublasLtMatmulPreferenceSetAttribute", table.preference_set) &&
                        find(library, "cublasLtMatmulAlgoGetHeuristic", table.heuristic) &&
                        find(library, "cublasLtMatmul", table.matmul);
  if (!is_whole) return fail(Code::kIo, "{} lacks a function: {}", kName, dlerror());
  return table;
}

}  // namespace

Result<const CublasLt*> load_cublas_lt() {
  static const Result<CublasLt> table = open_library();
  if (!table) return tl::unexpected<Error>(table.error());
  return &*table;
}

}  // namespace deepserve::runner::cuda
