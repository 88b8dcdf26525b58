#include "tests/gpu/bench/load_figures.h"

#include <cstring>

#include "ipc/base/clock.h"
#include "runner/backend/cuda/device_weights.h"
#include "runner/backend/cuda/stream_timer.h"

namespace deepserve::runner {
namespace {

using namespace cuda;

constexpr int kRuns = 9;
constexpr uint64_t kCopyBytesMax = uint64_t{1} << 30;

// The least, the median and the most of the bytes a second that copies of pinned memory reach.
Result<std::vector<double>> bus_rates(uint64_t bytes) {
  TRY_ASSIGN(const PinnedMemory from, PinnedMemory::make(bytes));
  TRY_ASSIGN(const DeviceMemory to, DeviceMemory::make(bytes, "timing copies"));
  TRY_ASSIGN(const Stream stream, make_stream());
  std::memset(from.data(), 1, bytes);
  TRY_ASSIGN(const auto seconds, seconds_of(stream.get(), kRuns, [&] {
               return checked(
                   cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyHostToDevice, stream.get()),
                   "timing copies");
             }));
  const auto rate = [&](double taken) { return static_cast<double>(bytes) / taken; };
  return std::vector<double>{rate(seconds.back()), rate(seconds[kRuns / 2]), rate(seconds.front())};
}

}  // namespace

Result<void> time_load(const ModelShape& shape, uint32_t threads, uint32_t runs,
                       std::vector<Figure>& figures) {
  const auto bytes = random_weight_bytes(shape);
  const BackendModel model = random_model(shape, bytes);
  TRY_ASSIGN(const auto bus, bus_rates(std::min<uint64_t>(kCopyBytesMax, bytes.size())));
  Durations_ns durations;
  uint64_t loaded = 0;
  for (uint32_t run = 0; run < runs; ++run) {
    const uint64_t begin_ns = monotonic_ns();
    TRY_ASSIGN(const DeviceWeights weights,
               upload_weights(model.config, model.weights, {.threads = threads, .on_bytes = {}}));
    durations.push_back(monotonic_ns() - begin_ns);
    loaded = weights.bytes;
  }
  const std::string name = fmt::format("load {}", shape.name);
  const auto size = static_cast<double>(loaded);
  figures.push_back(rate(name + ", of the bus", durations, size / bus[1], "x"));
  figures.push_back(rate(name, durations, size / 1e9, "GB/s"));
  figures.push_back({"copies to the GPU", bus[1] / 1e9, "GB/s", kRuns, bus[0] / 1e9, bus[2] / 1e9});
  return {};
}

}  // namespace deepserve::runner
