// The emulated runtime API: memory, streams as queues of work, events as places in them, graphs as lists.
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/gpu/emulator/device.h"

namespace deepserve::emulator {

using Work = std::function<cudaError_t()>;

struct Task {
  Work work;
  bool is_kernel = false;
  bool overlaps = false;  // with the kernel ahead of it
};
using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kNap{50};  // between two looks at what is not ready

struct Event {
  Stream* stream = nullptr;  // it was last recorded in
  uint64_t place = 0;        // so much of its work comes before
  Clock::time_point reached{};
};

struct Graph {
  std::vector<Task> nodes;
};

struct Stream {
  std::deque<Task> queue;
  uint64_t added = 0;
  uint64_t done = 0;
  Graph* capture = nullptr;
};

namespace {

struct Device {
  DeviceOptions options;
  cudaError_t sticky = cudaSuccess;  // of the context: every call gives it from then on
  cudaError_t last = cudaSuccess;
  uint64_t launches = 0;
  uint64_t graph_launches = 0;
  uint64_t in_use_bytes = 0;
  std::unordered_map<void*, size_t> memory;
  std::vector<Stream*> streams;
};

uint64_t bytes_of(const std::string& text) {
  char* unit = nullptr;
  const uint64_t number = std::strtoull(text.c_str(), &unit, 10);
  const std::string suffix = unit;
  if (suffix == "KiB") return number << 10;
  if (suffix == "MiB") return number << 20;
  if (suffix == "GiB") return number << 30;
  return number;
}

DeviceOptions options_of_environment() {
  DeviceOptions options;
  const char* text = std::getenv("DEEPSERVE_EMULATED_GPU");
  if (text == nullptr) return options;
  std::map<std::string, uint64_t> values;
  const std::string all = text;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(all.find(' ', begin), all.size());
    const std::string word = all.substr(begin, end - begin);
    const size_t equals = word.find('=');
    if (equals != std::string::npos) values[word.substr(0, equals)] = bytes_of(word.substr(equals + 1));
    begin = end + 1;
  }
  const auto take = [&](const char* name, auto& to) {
    if (values.contains(name)) to = static_cast<std::remove_reference_t<decltype(to)>>(values[name]);
  };
  take("memory", options.memory_bytes);
  take("seed", options.seed);
  take("capability", options.capability);
  take("driver", options.driver_version);
  take("devices", options.devices);
  take("fault", options.fault);
  take("fault_launches", options.fault_launches);
  return options;
}

Device& gpu() {
  static Device& device = []() -> Device& {
    auto* made = new Device;  // outlives every static object
    made->options = options_of_environment();
    return *made;
  }();
  return device;
}

cudaError_t said(cudaError_t error) {
  if (error != cudaSuccess) gpu().last = error;
  return error;
}

cudaError_t add(Stream* stream, Task task) {
  if (gpu().sticky != cudaSuccess) return said(gpu().sticky);
  if (stream->capture != nullptr) {
    stream->capture->nodes.push_back(std::move(task));
    return cudaSuccess;
  }
  stream->queue.push_back(std::move(task));
  ++stream->added;
  return cudaSuccess;
}

cudaError_t add(Stream* stream, Work work) {
  return add(stream, Task{std::move(work)});
}

// A copy from the host, which may be over before the call returns, or not begin before it must.
cudaError_t add_copy(Stream* stream, cudaMemcpyKind kind, Work work) {
  const bool at_once = kind == cudaMemcpyHostToDevice && stream->capture == nullptr &&
                       stream->queue.empty() && gpu().sticky == cudaSuccess && begins_early();
  return at_once ? work() : add(stream, std::move(work));
}

// What the next grid runs inside of itself, as it overlaps with it.
std::function<void()> ahead;

constexpr size_t kOverlappingMax = 3;  // kernels that are under way at once

// How many of a queue's first `most` tasks overlap this time; 1: the first runs by itself.
size_t overlapping(const std::deque<Task>& queue, size_t most) {
  size_t count = 1;
  while (count < std::min(most, kOverlappingMax) && queue[count - 1].is_kernel && queue[count].overlaps &&
         begins_early())
    ++count;
  return count;
}

// The first `count`: the last of them begins, before it goes on the ones ahead of it run.
cudaError_t run_first(const std::deque<Task>& queue, size_t count) {
  cudaError_t error = cudaSuccess;
  if (count > 1) ahead = [&] { error = run_first(queue, count - 1); };
  const cudaError_t last = queue[count - 1].work();
  ahead = nullptr;
  return error != cudaSuccess ? error : last;
}

// Runs the stream's work up to `place`, or until some of it is not ready and `waits` is false.
cudaError_t run_until(Stream* stream, uint64_t place, bool waits = true) {
  while (stream->done < place) {
    const size_t count = overlapping(stream->queue, place - stream->done);
    const cudaError_t error = run_first(stream->queue, count);
    // What waits for others ends with the context, as a kernel does.
    if (error == cudaErrorNotReady && gpu().sticky == cudaSuccess) {
      if (!waits) return cudaErrorNotReady;
      std::this_thread::sleep_for(kNap);
      continue;
    }
    if (error != cudaSuccess && error != cudaErrorNotReady) gpu().sticky = error;
    stream->queue.erase(stream->queue.begin(), stream->queue.begin() + static_cast<ptrdiff_t>(count));
    stream->done += count;
  }
  return said(gpu().sticky);
}

cudaError_t count_launch() {
  Device& device = gpu();
  ++device.launches;
  if (device.options.fault != 0 && device.launches > device.options.fault_launches) {
    device.sticky = static_cast<cudaError_t>(device.options.fault);
  }
  return device.sticky;
}

cudaError_t give_memory(void** memory, size_t bytes) {
  Device& device = gpu();
  if (device.sticky != cudaSuccess) return said(device.sticky);
  if (bytes > device.options.memory_bytes - device.in_use_bytes) return said(cudaErrorMemoryAllocation);
  void* given = nullptr;
  if (posix_memalign(&given, 256, bytes == 0 ? 1 : bytes) != 0) return said(cudaErrorMemoryAllocation);
  std::memset(given, 0xff, bytes);  // NaNs
  device.memory[given] = bytes;
  device.in_use_bytes += bytes;
  *memory = given;
  return cudaSuccess;
}

cudaError_t run_all() {
  for (Stream* stream : gpu().streams) {
    if (const cudaError_t error = run_until(stream, stream->added); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

void set_device(const DeviceOptions& options) {
  gpu().options = options;
  gpu().sticky = cudaSuccess;
  gpu().last = cudaSuccess;
  gpu().launches = 0;
  gpu().graph_launches = 0;
}

const DeviceOptions& device() {
  return gpu().options;
}
uint64_t schedule_seed() {
  return gpu().options.seed;
}
uint64_t memory_in_use_bytes() {
  return gpu().in_use_bytes;
}
uint64_t launches() {
  return gpu().launches;
}
uint64_t graph_launches() {
  return gpu().graph_launches;
}

int launch(const Grid& grid, Stream* stream, std::function<void()> thread) {
  const uint64_t threads = uint64_t{grid.threads.x} * grid.threads.y * grid.threads.z;
  const uint64_t blocks = uint64_t{grid.blocks.x} * grid.blocks.y * grid.blocks.z;
  const bool fits = threads > 0 && threads <= 1024 && blocks > 0 && grid.blocks.y <= 65'535 &&
                    grid.blocks.z <= 65'535 && grid.shared_bytes <= kSharedBytesMax;
  if (!fits) return said(cudaErrorInvalidValue);
  const bool takes_overlap = device().capability >= 90 && device().takes_overlap;
  if (grid.overlaps && !takes_overlap) return said(cudaErrorNotSupported);
  Work run = [grid, thread = std::move(thread)] {
    if (const cudaError_t error = count_launch(); error != cudaSuccess) return error;
    run_grid(grid, thread, std::exchange(ahead, nullptr));
    return cudaSuccess;
  };
  return add(stream, Task{std::move(run), true, grid.overlaps});
}

int enqueue(Stream* stream, std::function<int()> work) {
  return add(stream, [work = std::move(work)] { return static_cast<cudaError_t>(work()); });
}

}  // namespace deepserve::emulator

using namespace deepserve::emulator;

namespace {
struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "driver is too old for the runtime"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorMpsConnectionFailed, "cudaErrorMpsConnectionFailed", "MPS client failed to connect"},
};
}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  for (const ErrorText& row : kErrors) {
    if (row.error == error) return row.name;
  }
  return "cudaErrorUnknown";
}

const char* cudaGetErrorString(cudaError_t error) {
  for (const ErrorText& row : kErrors) {
    if (row.error == error) return row.text;
  }
  return "unknown error";
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = gpu().last;
  gpu().last = gpu().sticky;
  return error;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = gpu().options.devices;
  return said(*count == 0 ? cudaErrorNoDevice : cudaSuccess);
}

cudaError_t cudaSetDevice(int device) {
  return said(device >= 0 && device < gpu().options.devices ? gpu().sticky : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= gpu().options.devices) return said(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulated GPU");
  properties->totalGlobalMem = gpu().options.memory_bytes;
  properties->sharedMemPerBlockOptin = kSharedBytesMax;
  properties->major = gpu().options.capability / 10;
  properties->minor = gpu().options.capability % 10;
  properties->multiProcessorCount = 4;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = gpu().options.driver_version;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  *total_bytes = gpu().options.memory_bytes;
  *free_bytes = gpu().options.memory_bytes - gpu().in_use_bytes;
  return said(gpu().sticky);
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  return give_memory(memory, bytes);
}

cudaError_t cudaFree(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  run_all();  // as CUDA's own: work that uses it ends first
  const auto found = gpu().memory.find(memory);
  if (found == gpu().memory.end()) return said(cudaErrorInvalidValue);
  gpu().in_use_bytes -= found->second;
  gpu().memory.erase(found);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  if (gpu().sticky != cudaSuccess) return said(gpu().sticky);
  *memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (*memory == nullptr) return said(cudaErrorMemoryAllocation);
  std::memset(*memory, 0xff, bytes);
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  run_all();
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return add_copy(stream, kind, [=] {
    if (bytes != 0) std::memcpy(to, from, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return said(cudaErrorInvalidValue);
  return add_copy(stream, kind, [=] {
    for (size_t row = 0; row < height; ++row) {
      std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
                  width);
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return add(stream, [=] {
    std::memset(memory, value, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  if (gpu().sticky != cudaSuccess) return said(gpu().sticky);
  *stream = new Stream;
  gpu().streams.push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  run_until(stream, stream->added);
  std::erase(gpu().streams, stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (stream->capture != nullptr) return said(cudaErrorStreamCaptureUnsupported);
  return run_until(stream, stream->added, false);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream->capture != nullptr) return said(cudaErrorStreamCaptureUnsupported);
  return run_until(stream, stream->added);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Stream* other = event->stream;
  const uint64_t place = event->place;
  if (other == nullptr || other == stream) return cudaSuccess;
  return add(stream, [=] { return run_until(other, place, false); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new Event;
  return said(gpu().sticky);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  run_all();
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const cudaError_t error = add(stream, [=] {
    event->reached = Clock::now();
    return cudaSuccess;
  });
  event->stream = stream;
  event->place = stream->added;
  return error;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->stream == nullptr) return cudaSuccess;
  return run_until(event->stream, event->place);
}

// Does the work meanwhile, as far as it need not wait.
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (event->stream == nullptr) return cudaSuccess;
  return run_until(event->stream, event->place, false);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->reached - begin->reached).count();
  return said(gpu().sticky);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->capture != nullptr) return said(cudaErrorStreamCaptureUnsupported);
  stream->capture = new Graph;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (stream->capture == nullptr) return said(cudaErrorInvalidValue);
  *graph = stream->capture;
  stream->capture = nullptr;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new Graph(*graph);
  return said(gpu().sticky);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  ++gpu().graph_launches;
  for (const Task& node : executable->nodes) {
    if (const cudaError_t error = add(stream, node); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  run_all();
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  return run_all();
}
