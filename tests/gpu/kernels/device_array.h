// A vector in a GPU's memory, for tests; one that is made without values holds NaNs (poison).
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/cuda/overlap.h"

namespace deepserve::kernels::cuda {

// Ends the test's process: nothing that comes after it would mean anything.
inline void require(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA error %d: %s\n", static_cast<int>(error), cudaGetErrorString(error));
  std::abort();
}

// The one stream of all tests. Its kernels overlap where the GPU can.
inline cudaStream_t stream() {
  static const cudaStream_t one = [] {
    cudaDeviceProp properties{};
    require(cudaGetDeviceProperties(&properties, 0));
    let_kernels_overlap(properties.major * 10 + properties.minor >= kOverlapCapability);
    cudaStream_t made;
    require(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking));
    return made;
  }();
  return one;
}

inline void finish() {
  require(cudaGetLastError());
  require(cudaStreamSynchronize(stream()));
}

template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t size) : size_(size) {
    void* memory = nullptr;
    require(cudaMalloc(&memory, bytes() + kGuard));
    data_ = static_cast<T*>(memory);
    require(cudaMemsetAsync(data_, 0xff, bytes() + kGuard, stream()));
    finish();
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    require(cudaMemcpyAsync(data_, values.data(), bytes(), cudaMemcpyHostToDevice, stream()));
    finish();
  }
  ~DeviceArray() {
    expect_guard_untouched();
    require(cudaFree(data_));
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  // Behind what was put into the stream.
  void assign(const std::vector<T>& values) {
    ASSERT_EQ(values.size(), size_);
    require(cudaMemcpyAsync(data_, values.data(), bytes(), cudaMemcpyHostToDevice, stream()));
    finish();
  }

  T* data() { return data_; }
  size_t size() const { return size_; }

  // Waits for what was put into the stream.
  std::vector<T> values() const {
    std::vector<T> copy(size_);
    require(cudaMemcpyAsync(copy.data(), data_, bytes(), cudaMemcpyDeviceToHost, stream()));
    finish();
    return copy;
  }

 private:
  static constexpr size_t kGuard = 256;  // bytes behind the array that nobody may write to

  size_t bytes() const { return size_ * sizeof(T); }
  void expect_guard_untouched() const {
    uint8_t guard[kGuard];
    require(cudaMemcpyAsync(guard, reinterpret_cast<const uint8_t*>(data_) + bytes(), kGuard,
                            cudaMemcpyDeviceToHost, stream()));
    finish();
    for (const uint8_t byte : guard) {
      if (byte != 0xff) ADD_FAILURE() << "a kernel wrote behind an array of " << size_;
      if (byte != 0xff) return;
    }
  }

  T* data_ = nullptr;
  size_t size_;
};

}  // namespace deepserve::kernels::cuda
