#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "tests/gpu/emulator/device.h"
#include "tests/gpu/kernels/device_array.h"

namespace deepserve::kernels::cuda {
namespace {

// Its kernels run one by one.
class Emulator : public testing::Test {
 protected:
  Emulator() {
    stream();
    let_kernels_overlap(false);
  }
  ~Emulator() override {
    emulator::set_device({});
    let_kernels_overlap(true);
  }
};

__global__ void reverse_through_shared_memory(const float* in, float* out) {
  __shared__ float values[64];
  values[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = values[63 - threadIdx.x];
}

__global__ void reverse_without_a_barrier(const float* in, float* out) {
  __shared__ float values[64];
  values[threadIdx.x] = in[threadIdx.x];
  out[threadIdx.x] = values[63 - threadIdx.x];
}

__global__ void half_of_a_block_waits(float*) {
  if (threadIdx.x < 32) __syncthreads();
}

__global__ void read_a_copy(const float* in, float* out, bool waits) {
  auto* shared = reinterpret_cast<float*>(dynamic_shared());
  copy_async_16(shared + 4 * threadIdx.x, in + 4 * threadIdx.x, true);
  copies_commit();
  if (waits) copies_wait<0>();
  for (unsigned i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = shared[4 * threadIdx.x + i];
}

__global__ void put_one(float* out) {
  begin_in_turn();
  *out = 1;
}

// The second value it reads in its turn.
__global__ void read_twice(const float* in, float* out) {
  const float early = *in;
  wait_for_kernels_before();
  out[0] = early;
  out[1] = *in;
}

__global__ void copy_early(const float* in, float* out) {
  copy_async_16(dynamic_shared(), in, true);
  copies_commit();
  wait_for_kernels_before();
  copies_wait<0>();
  *out = *reinterpret_cast<float*>(dynamic_shared());
}

__global__ void never_wait(float*) {}

std::vector<float> numbers(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
  return values;
}

TEST_F(Emulator, ThreadsMeetAtBarriers) {
  DeviceArray<float> in(numbers(64)), out(64);
  require(launch_kernel({{1, 1, 1}, {64, 1, 1}, 0, stream()}, reverse_through_shared_memory, in.data(),
                        out.data()));
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(out.values()[i], static_cast<float>(63 - i));
}

TEST_F(Emulator, WorkThatWaitsForOthersHoldsUpItsStreamAlone) {
  bool is_there = false;
  DeviceArray<float> out(1);
  ASSERT_EQ(emulator::enqueue(stream(), [&] { return is_there ? cudaSuccess : cudaErrorNotReady; }), 0);
  require(cudaMemsetAsync(out.data(), 0, sizeof(float), stream()));
  EXPECT_EQ(cudaStreamQuery(stream()), cudaErrorNotReady);
  cudaStream_t other = nullptr;
  require(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  EXPECT_EQ(cudaStreamQuery(other), cudaSuccess);
  require(cudaStreamDestroy(other));
  is_there = true;
  EXPECT_EQ(cudaStreamQuery(stream()), cudaSuccess);
  EXPECT_EQ(out.values()[0], 0.0f);
}

TEST_F(Emulator, AFaultEndsWhatWaitsForOthers) {
  ASSERT_EQ(emulator::enqueue(stream(), [] { return cudaErrorIllegalAddress; }), 0);
  ASSERT_EQ(emulator::enqueue(stream(), [] { return cudaErrorNotReady; }), 0);
  EXPECT_EQ(cudaStreamQuery(stream()), cudaErrorIllegalAddress);
}

TEST_F(Emulator, RowsAreCopiedFromOnePitchToAnother) {
  DeviceArray<float> in(numbers(6)), out(8);
  require(cudaMemcpy2DAsync(out.data() + 1, 4 * sizeof(float), in.data(), 3 * sizeof(float),
                            2 * sizeof(float), 2, cudaMemcpyDeviceToDevice, stream()));
  const auto values = out.values();
  EXPECT_EQ(std::vector<float>({values[1], values[2], values[5], values[6]}),
            std::vector<float>({0, 1, 3, 4}));
  EXPECT_TRUE(std::isnan(values[0]) && std::isnan(values[3]) && std::isnan(values[4]));
}

TEST_F(Emulator, AMissingBarrierShows) {
  DeviceArray<float> in(numbers(64)), out(64);
  require(
      launch_kernel({{1, 1, 1}, {64, 1, 1}, 0, stream()}, reverse_without_a_barrier, in.data(), out.data()));
  size_t wrong = 0;
  for (size_t i = 0; i < 64; ++i) wrong += out.values()[i] != static_cast<float>(63 - i);
  EXPECT_GT(wrong, 0u);
}

TEST_F(Emulator, ABarrierThatNotAllComeToEndsTheProgram) {
  EXPECT_DEATH(
      {
        require(launch_kernel({{1, 1, 1}, {64, 1, 1}, 0, stream()}, half_of_a_block_waits, nullptr));
        require(cudaStreamSynchronize(stream()));
      },
      "waits at a barrier");
}

TEST_F(Emulator, ACopyIsThereOnceItWasWaitedFor) {
  DeviceArray<float> in(numbers(128)), out(128), early(128);
  require(launch_kernel({{1, 1, 1}, {32, 1, 1}, 512, stream()}, read_a_copy, in.data(), out.data(), true));
  EXPECT_EQ(out.values(), numbers(128));
  require(launch_kernel({{1, 1, 1}, {32, 1, 1}, 512, stream()}, read_a_copy, in.data(), early.data(), false));
  EXPECT_TRUE(std::isnan(early.values()[5]));
}

TEST_F(Emulator, WorkRunsNoEarlierThanSomebodyWaitsForIt) {
  DeviceArray<float> in(numbers(64)), out(64);
  std::vector<float> host(64, -1);
  require(cudaMemcpyAsync(host.data(), in.data(), 256, cudaMemcpyDeviceToHost, stream()));
  EXPECT_EQ(host[3], -1);
  require(cudaStreamSynchronize(stream()));
  EXPECT_EQ(host[3], 3);
}

TEST_F(Emulator, AStreamWaitsForAnothersEvent) {
  DeviceArray<float> in(numbers(4)), middle(4);
  std::vector<float> host(4);
  cudaStream_t second;
  cudaEvent_t copied;
  require(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking));
  require(cudaEventCreateWithFlags(&copied, cudaEventDisableTiming));
  require(cudaMemcpyAsync(middle.data(), in.data(), 16, cudaMemcpyDeviceToDevice, stream()));
  require(cudaEventRecord(copied, stream()));
  require(cudaStreamWaitEvent(second, copied));
  require(cudaMemcpyAsync(host.data(), middle.data(), 16, cudaMemcpyDeviceToHost, second));
  require(cudaStreamSynchronize(second));
  EXPECT_EQ(host, numbers(4));
  require(cudaEventDestroy(copied));
  require(cudaStreamDestroy(second));
}

TEST_F(Emulator, AGraphRunsWhatWasCapturedAsOftenAsItIsLaunched) {
  DeviceArray<float> in(numbers(64)), out(64);
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  require(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal));
  require(launch_kernel({{1, 1, 1}, {64, 1, 1}, 0, stream()}, reverse_through_shared_memory, in.data(),
                        out.data()));
  require(cudaStreamEndCapture(stream(), &graph));
  require(cudaGraphInstantiate(&executable, graph, 0));
  require(cudaGraphDestroy(graph));
  EXPECT_TRUE(std::isnan(out.values()[0]));
  const uint64_t before = emulator::launches();
  require(cudaGraphLaunch(executable, stream()));
  require(cudaGraphLaunch(executable, stream()));
  EXPECT_EQ(out.values()[0], 63);
  EXPECT_EQ(emulator::launches(), before + 2);
  require(cudaGraphExecDestroy(executable));
}

// Kernels begin early under half of the seeds.
class EmulatorOverlap : public Emulator {
 protected:
  EmulatorOverlap() { let_kernels_overlap(true); }
  template <typename... Values>
  void start(void (*kernel)(Values...), Values... values) {
    require(launch_kernel({{1, 1, 1}, {1, 1, 1}, 16, stream()}, kernel, values...));
  }
};

TEST_F(EmulatorOverlap, WhatIsReadAheadOfItsTurnIsNotThereYet) {
  DeviceArray<float> in(4), out(3);
  size_t early = 0;
  for (int i = 0; i < 40; ++i) {
    require(cudaMemsetAsync(in.data(), 0, 16, stream()));
    start(put_one, in.data());
    start(read_twice, const_cast<const float*>(in.data()), out.data());
    require(cudaMemsetAsync(in.data(), 0, 16, stream()));
    start(put_one, in.data());
    start(copy_early, const_cast<const float*>(in.data()), out.data() + 2);
    const auto values = out.values();
    EXPECT_EQ(values[1], 1);
    EXPECT_EQ(values[0] == 1 || values[0] == 0, true);
    early += (values[0] == 0) + (values[2] == 0);
  }
  EXPECT_GT(early, 20u);
  EXPECT_LT(early, 60u);
}

TEST_F(EmulatorOverlap, AKernelMayBeginAheadOfTheOneBeforeTheLast) {
  DeviceArray<float> in(4), between(4), out(2);
  size_t early = 0;
  for (int i = 0; i < 40; ++i) {
    require(cudaMemsetAsync(in.data(), 0, 16, stream()));
    start(put_one, in.data());
    start(put_one, between.data());
    start(read_twice, const_cast<const float*>(in.data()), out.data());
    const auto values = out.values();
    EXPECT_EQ(values[1], 1);
    early += values[0] == 0;
  }
  EXPECT_GT(early, 0u);
  EXPECT_LT(early, 40u);
}

TEST_F(EmulatorOverlap, AKernelThatDoesNotWaitEndsTheProgram) {
  EXPECT_DEATH(
      {
        start(never_wait, static_cast<float*>(nullptr));
        require(cudaStreamSynchronize(stream()));
      },
      "has not waited");
}

TEST_F(EmulatorOverlap, AnOlderGpuRefusesIt) {
  emulator::set_device({.capability = 80});
  DeviceArray<float> out(1);
  EXPECT_EQ(launch_kernel({{1, 1, 1}, {1, 1, 1}, 0, stream()}, put_one, out.data()), cudaErrorNotSupported);
  emulator::set_device({});
}

TEST_F(Emulator, AFaultStaysWithEveryLaterCall) {
  DeviceArray<float> in(numbers(64)), out(64);
  emulator::set_device({.fault = cudaErrorIllegalAddress, .fault_launches = 1});
  for (int i = 0; i < 2; ++i) {
    require(launch_kernel({{1, 1, 1}, {64, 1, 1}, 0, stream()}, reverse_through_shared_memory, in.data(),
                          out.data()));
  }
  EXPECT_EQ(cudaStreamSynchronize(stream()), cudaErrorIllegalAddress);
  void* memory;
  EXPECT_EQ(cudaMalloc(&memory, 16), cudaErrorIllegalAddress);
  emulator::set_device({});
}

TEST_F(Emulator, MemoryEnds) {
  emulator::set_device({.memory_bytes = emulator::memory_in_use_bytes() + 1000});
  void* memory;
  EXPECT_EQ(cudaMalloc(&memory, 1001), cudaErrorMemoryAllocation);
  ASSERT_EQ(cudaMalloc(&memory, 1000), cudaSuccess);
  require(cudaFree(memory));
}

}  // namespace
}  // namespace deepserve::kernels::cuda
