#include "runner/backend/cuda/library_matmul.h"

#include <utility>

namespace deepserve::runner::cuda {

Result<void> LibraryMatmul::checked_library(cublasStatus_t status, const char* what) const {
  if (status == CUBLAS_STATUS_SUCCESS) return {};
  const Code code = status == CUBLAS_STATUS_NOT_SUPPORTED ? Code::kNotSupported : Code::kDeviceFault;
  return fail(code, "cuBLASLt, {}: {}", what, library_->status_string(status));
}

size_t LibraryMatmul::ShapeHash::operator()(const Shape& shape) const {
  uint64_t hash = shape.rows;
  for (const uint32_t value : {shape.columns, shape.tokens, shape.input_stride, shape.out_stride}) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 29;
  }
  return hash;
}

Result<LibraryMatmul> LibraryMatmul::make(const CublasLt& library) {
  LibraryMatmul matmul(library);
  TRY(matmul.checked_library(library.create(&matmul.handle_), "opening it"));
  TRY_ASSIGN(matmul.workspace_, DeviceMemory::make(kWorkspaceBytes, "cuBLASLt"));
  return matmul;
}

LibraryMatmul::LibraryMatmul(LibraryMatmul&& other) noexcept
    : library_(other.library_),
      handle_(std::exchange(other.handle_, nullptr)),
      workspace_(std::move(other.workspace_)),
      plans_(std::exchange(other.plans_, {})) {}

LibraryMatmul& LibraryMatmul::operator=(LibraryMatmul&& other) noexcept {
  std::swap(library_, other.library_);
  std::swap(handle_, other.handle_);
  std::swap(workspace_, other.workspace_);
  std::swap(plans_, other.plans_);
  return *this;
}

LibraryMatmul::~LibraryMatmul() {
  for (const auto& [shape, plan] : plans_) destroy(plan);
  if (handle_ != nullptr) library_->destroy(handle_);
}

void LibraryMatmul::destroy(const Plan& plan) const {
  if (plan.operation != nullptr) library_->desc_destroy(plan.operation);
  for (const auto layout : {plan.weights, plan.inputs, plan.out}) {
    if (layout != nullptr) library_->layout_destroy(layout);
  }
}

// The library thinks in columns: our rows of weights are its columns, to be transposed; a token is a column.
Result<void> LibraryMatmul::describe(const Shape& shape, Plan& plan) const {
  const cublasOperation_t transposed = CUBLAS_OP_T, as_is = CUBLAS_OP_N;
  TRY(checked_library(library_->desc_create(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product"));
  TRY(checked_library(
      library_->desc_set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
      "a product"));
  TRY(checked_library(library_->desc_set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, &as_is, sizeof as_is),
                      "a product"));
  TRY(checked_library(
      library_->layout_create(&plan.weights, CUDA_R_16BF, shape.columns, shape.rows, shape.columns),
      "weights"));
  TRY(checked_library(
      library_->layout_create(&plan.inputs, CUDA_R_16BF, shape.columns, shape.tokens, shape.input_stride),
      "inputs"));
  return checked_library(
      library_->layout_create(&plan.out, CUDA_R_32F, shape.rows, shape.tokens, shape.out_stride), "outputs");
}

Result<void> LibraryMatmul::choose_algorithm(Plan& plan) const {
  cublasLtMatmulPreference_t preference = nullptr;
  TRY(checked_library(library_->preference_create(&preference), "a preference"));
  const size_t bytes = kWorkspaceBytes;
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  auto status =
      library_->preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
  if (status == CUBLAS_STATUS_SUCCESS) {
    status = library_->heuristic(handle_, plan.operation, plan.weights, plan.inputs, plan.out, plan.out,
                                 preference, 1, &found, &count);
  }
  library_->preference_destroy(preference);
  TRY(checked_library(status, "choosing an algorithm"));
  if (count == 0) return fail(Code::kNotSupported, "cuBLASLt has no algorithm for a product");
  plan.algorithm = found.algo;
  return {};
}

Result<const LibraryMatmul::Plan*> LibraryMatmul::plan_for(const Shape& shape) {
  if (const auto found = plans_.find(shape); found != plans_.end()) return &found->second;
  Plan plan;
  Result<void> made = describe(shape, plan);
  if (made) made = choose_algorithm(plan);
  if (!made) {
    destroy(plan);
    return tl::unexpected<Error>(made.error());
  }
  return &plans_.emplace(shape, plan).first->second;
}

Result<void> LibraryMatmul::run(const WideProduct& product, cudaStream_t stream) {
  TRY_ASSIGN(const Plan* const plan, plan_for({product.rows, product.columns, product.tokens,
                                               product.input_stride, product.out_stride}));
  const float one = 1, kept = product.accumulate ? 1.0f : 0.0f;
  return checked_library(
      library_->matmul(handle_, plan->operation, &one, product.weights, plan->weights, product.inputs,
                       plan->inputs, &kept, product.out, plan->out, product.out, plan->out, &plan->algorithm,
                       workspace_.data(), kWorkspaceBytes, stream),
      "a product");
}

}  // namespace deepserve::runner::cuda
