#include "runner/backend/cuda/memory_need.h"

#include <algorithm>

namespace deepserve::runner::cuda {

Result<void> MemoryNeed::check(const Gpu& gpu, uint64_t limit_bytes) const {
  const uint64_t room = limit_bytes == 0 ? gpu.free_bytes : std::min(limit_bytes, gpu.free_bytes);
  if (total() <= room) return {};
  return fail(Code::kInvalidConfig,
              "{} bytes of GPU memory are needed: {} for weights, {} for the KV cache, {} for a step's work, "
              "{} for CUDA's own; {} of {} are free on {}{}",
              total(), weights, kv, work, cuda, gpu.free_bytes, gpu.total_bytes, gpu.name,
              limit_bytes == 0 ? "" : fmt::format(", and the limit is {}", limit_bytes));
}

uint64_t memory_of_cuda(const Gpu& gpu, bool deterministic) {
  constexpr uint64_t kOwnKernels = uint64_t{256} << 20, kWithLibrary = uint64_t{768} << 20;
  return std::min(deterministic ? kOwnKernels : kWithLibrary, gpu.total_bytes / 64);
}

}  // namespace deepserve::runner::cuda
