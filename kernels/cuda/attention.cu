#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_kernels.cuh"
#include "kernels/cuda/launch.cuh"

namespace deepserve::kernels::cuda {
namespace {

// A kernel, and what it takes of a multiprocessor.
struct KernelShape {
  void (*kernel)(AttentionArguments) = nullptr;
  unsigned threads = 0;
  unsigned shared_bytes = 0;
  unsigned resident = 0;
};

template <unsigned kDim>
KernelShape shape_for(AttentionKind kind) {
  using Narrow = NarrowAttention<kDim>;
  using Medium = TileAttention<kDim, 4>;
  switch (kind) {
    case AttentionKind::kNarrow:
      return {narrow_attention_kernel<kDim>, Narrow::kThreads, Narrow::kSharedBytes, Narrow::kResident};
    case AttentionKind::kMedium:
      return {tile_attention_kernel<kDim, 4>, Medium::kThreads, Medium::kSharedBytes, Medium::kResident};
    default:
      break;
  }
  if constexpr (kDim <= 128) {
    using Wide = TileAttention<kDim, 8>;
    return {tile_attention_kernel<kDim, 8>, Wide::kThreads, Wide::kSharedBytes, Wide::kResident};
  }
  return {};  // what eight warps of such rows need does not fit
}

// Of no kernel where there is none.
KernelShape shape_for(AttentionKind kind, uint32_t head_dim) {
  if (head_dim == 0 || head_dim % 8 != 0 || head_dim > 256) return {};
  if (head_dim <= 64) return shape_for<64>(kind);
  if (head_dim <= 96) return shape_for<96>(kind);
  if (head_dim <= 128) return shape_for<128>(kind);
  return shape_for<256>(kind);
}

// Beside the dynamic shared memory a kernel has a flag.
bool fits(const KernelShape& shape, size_t shared_bytes_max) {
  return shape.kernel != nullptr && shape.shared_bytes + 16 <= shared_bytes_max;
}

bool is_valid(const AttentionArguments& a) {
  return a.kv_heads != 0 && a.heads != 0 && a.heads % a.kv_heads == 0 &&
         shape_for(AttentionKind::kNarrow, a.head_dim).kernel != nullptr &&
         a.out_stride >= a.heads * a.head_dim && a.out_stride % 2 == 0 &&
         a.workspace_size.kv_heads == a.kv_heads && a.workspace_size.head_dim == a.head_dim;
}

}  // namespace

size_t attention_workspace_bytes(const AttentionWorkspaceSize& size) {
  return AttentionWorkspace::arrivals_bytes(size) + AttentionWorkspace::softmax_bytes(size) +
         size_t{size.rows} * size.head_dim * sizeof(float);
}

size_t attention_workspace_zeros(const AttentionWorkspaceSize& size) {
  return AttentionWorkspace::arrivals_bytes(size);
}

bool attention_has_kernels(uint32_t head_dim, size_t shared_bytes_max) {
  return fits(shape_for(AttentionKind::kNarrow, head_dim), shared_bytes_max) &&
         fits(shape_for(AttentionKind::kMedium, head_dim), shared_bytes_max);
}

bool attention_has_wide(uint32_t head_dim, size_t shared_bytes_max) {
  return fits(shape_for(AttentionKind::kWide, head_dim), shared_bytes_max);
}

uint32_t attention_blocks(AttentionKind kind, uint32_t head_dim, uint32_t multiprocessors) {
  return shape_for(kind, head_dim).resident * multiprocessors;
}

cudaError_t paged_attention(const AttentionArguments& arguments, cudaStream_t stream) {
  if (!is_valid(arguments)) return cudaErrorInvalidValue;
  for (size_t kind = 0; kind < kAttentionKinds; ++kind) {
    if (arguments.blocks[kind] == 0) continue;
    const KernelShape shape = shape_for(static_cast<AttentionKind>(kind), arguments.head_dim);
    if (shape.kernel == nullptr) return cudaErrorInvalidValue;
    cudaError_t error = cudaFuncSetAttribute(shape.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             static_cast<int>(shape.shared_bytes));
    if (error != cudaSuccess) return error;
    error = launch_kernel({{arguments.blocks[kind], 1, 1}, {shape.threads, 1, 1}, shape.shared_bytes, stream},
                          shape.kernel, arguments);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace deepserve::kernels::cuda
