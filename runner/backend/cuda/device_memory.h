// Memory, streams and events of the GPU as owners. Each is made by make() and freed with its object; what a
// process leaves behind when it dies goes with its context.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "runner/backend/cuda/cuda_result.h"

namespace deepserve::runner::cuda {

// A handle of CUDA's with the function that gives it up.
template <typename Handle, cudaError_t (*kFree)(Handle)>
class Owned {
 public:
  Owned() = default;
  explicit Owned(Handle handle) : handle_(handle) {}
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, Handle{})) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_ != Handle{}) kFree(handle_);
  }
  Handle get() const { return handle_; }

 private:
  Handle handle_{};
};

using Stream = Owned<cudaStream_t, cudaStreamDestroy>;
using Event = Owned<cudaEvent_t, cudaEventDestroy>;

Result<Stream> make_stream();
Result<Event> make_event();  // without a time

// Bytes of the GPU's memory, aligned to 256.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // kOutOfMemory names `purpose`, the bytes, and what is free.
  static Result<DeviceMemory> make(uint64_t bytes, std::string_view purpose);

  uint8_t* data() const { return static_cast<uint8_t*>(memory_.get()); }
  uint64_t bytes() const { return bytes_; }

 private:
  Owned<void*, cudaFree> memory_;
  uint64_t bytes_ = 0;
};

// Zeros, when it returns.
Result<void> clear(void* device_memory, uint64_t bytes);

// Memory of the host that the GPU copies from and to by itself.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  static Result<PinnedMemory> make(uint64_t bytes);

  uint8_t* data() const { return static_cast<uint8_t*>(memory_.get()); }
  template <typename T>
  T* as(uint64_t offset = 0) const {
    return reinterpret_cast<T*>(data() + offset);
  }
  uint64_t bytes() const { return bytes_; }

 private:
  Owned<void*, cudaFreeHost> memory_;
  uint64_t bytes_ = 0;
};

// Hands out parts of one piece of memory, one after the other, aligned to 256 bytes. Counting comes first:
// the same calls on an object without memory add up how much they need.
class Carver {
 public:
  Carver() = default;
  explicit Carver(uint8_t* memory) : memory_(memory) {}

  template <typename T>
  T* take(uint64_t count) {
    constexpr uint64_t kAlignment = 256;
    uint8_t* at = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<T*>(at);
  }
  uint64_t used_bytes() const { return used_; }

 private:
  uint8_t* memory_ = nullptr;
  uint64_t used_ = 0;
};

}  // namespace deepserve::runner::cuda
