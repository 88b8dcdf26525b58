#include "runner/backend/cuda/device_memory.h"

namespace deepserve::runner::cuda {

Result<Stream> make_stream() {
  cudaStream_t stream = nullptr;
  TRY(checked(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream"));
  return Stream(stream);
}

Result<Event> make_event() {
  cudaEvent_t event = nullptr;
  TRY(checked(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event"));
  return Event(event);
}

Result<DeviceMemory> DeviceMemory::make(uint64_t bytes, std::string_view purpose) {
  void* memory = nullptr;
  if (const auto error = cudaMalloc(&memory, bytes); error != cudaSuccess) {
    size_t free_bytes = 0, total_bytes = 0;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    return tl::unexpected(checked(error, fmt::format("{} bytes of GPU memory for {}, of which {} are free",
                                                     bytes, purpose, free_bytes))
                              .error());
  }
  DeviceMemory made;
  made.memory_ = Owned<void*, cudaFree>(memory);
  made.bytes_ = bytes;
  return made;
}

Result<void> clear(void* device_memory, uint64_t bytes) {
  TRY_ASSIGN(const Stream stream, make_stream());
  TRY(checked(cudaMemsetAsync(device_memory, 0, bytes, stream.get()), "clearing memory"));
  return checked(cudaStreamSynchronize(stream.get()), "clearing memory");
}

Result<PinnedMemory> PinnedMemory::make(uint64_t bytes) {
  void* memory = nullptr;
  TRY(checked(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault),
              fmt::format("{} bytes of pinned host memory", bytes)));
  PinnedMemory made;
  made.memory_ = Owned<void*, cudaFreeHost>(memory);
  made.bytes_ = bytes;
  return made;
}

}  // namespace deepserve::runner::cuda
