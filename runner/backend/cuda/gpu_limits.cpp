#include "runner/backend/cuda/gpu_limits.h"

#include <algorithm>

#include "kernels/cuda/random_bits.h"
#include "runner/backend/cuda/library_matmul.h"
#include "runner/backend/cuda/stream_timer.h"

namespace deepserve::runner::cuda {
namespace {

constexpr uint64_t kCopyBytesMax = uint64_t{4} << 30;
constexpr uint32_t kWidthMax = 8192;  // of the square matrices
constexpr uint32_t kWidthMin = 64;
constexpr int kRuns = 9;

template <typename Work>
Result<double> median_seconds(cudaStream_t stream, const Work& work) {
  TRY_ASSIGN(const auto seconds, seconds_of(stream, kRuns, work));
  return seconds[kRuns / 2];
}

Result<void> measure_copy(uint64_t room, cudaStream_t stream, DeviceLimits& limits) {
  limits.buffer_bytes = std::min(kCopyBytesMax, room / 2);
  TRY_ASSIGN(const DeviceMemory memory, DeviceMemory::make(2 * limits.buffer_bytes, "timing copies"));
  auto* from = reinterpret_cast<uint16_t*>(memory.data());
  TRY(checked(kernels::cuda::fill_random_bf16(from, limits.buffer_bytes / 2, 1, stream), "timing"));
  TRY_ASSIGN(const double seconds, median_seconds(stream, [&] {
               return checked(cudaMemcpyAsync(memory.data() + limits.buffer_bytes, from, limits.buffer_bytes,
                                              cudaMemcpyDeviceToDevice, stream),
                              "timing copies");
             }));
  limits.copy_bytes_per_second = 2 * static_cast<double>(limits.buffer_bytes) / seconds;
  return {};
}

Result<void> measure_matmul(uint64_t room, cudaStream_t stream, DeviceLimits& limits) {
  const auto library = load_cublas_lt();
  if (!library) return {};
  uint64_t width = kWidthMax;
  while (width > kWidthMin && 8 * width * width > room) width /= 2;
  TRY_ASSIGN(LibraryMatmul matmul, LibraryMatmul::make(**library));
  TRY_ASSIGN(const DeviceMemory memory, DeviceMemory::make(8 * width * width, "timing products"));
  auto* weights = reinterpret_cast<uint16_t*>(memory.data());
  TRY(checked(kernels::cuda::fill_random_bf16(weights, 2 * width * width, 2, stream), "timing"));
  const auto size = static_cast<uint32_t>(width);
  const WideProduct product{.weights = weights,
                            .inputs = weights + width * width,
                            .out = reinterpret_cast<float*>(memory.data() + 4 * width * width),
                            .rows = size,
                            .columns = size,
                            .tokens = size,
                            .input_stride = size,
                            .out_stride = size};
  TRY_ASSIGN(const double seconds, median_seconds(stream, [&] { return matmul.run(product, stream); }));
  limits.matmul_operations_per_second = 2 * static_cast<double>(width * width * width) / seconds;
  return {};
}

}  // namespace

Result<DeviceLimits> measure_gpu_limits() {
  size_t free_bytes = 0, total_bytes = 0;
  TRY(checked(cudaMemGetInfo(&free_bytes, &total_bytes), "the GPU's memory"));
  TRY_ASSIGN(const Stream stream, make_stream());
  DeviceLimits limits;
  TRY(measure_copy(free_bytes / 8, stream.get(), limits));
  TRY(measure_matmul(free_bytes / 8, stream.get(), limits));
  return limits;
}

}  // namespace deepserve::runner::cuda
