#include "runner/bench/machine_limits.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "ipc/base/check.h"
#include "ipc/base/clock.h"
#include "kernels/cpu/thread_pool.h"

namespace deepserve::runner {
namespace {

using kernels::Arithmetic;

constexpr uint64_t kPiece_bytes = 4096;  // that is read of one of several streams at a time
constexpr uint64_t kStreamsMax = 4;
constexpr uint64_t kPartUnit_bytes = kStreamsMax * kPiece_bytes;  // threads' parts are multiples of it
constexpr uint64_t kBufferMax_bytes = 1u << 29;                   // far beyond any cache, and soon filled
constexpr uint64_t kBufferMin_bytes = 1u << 20;
constexpr uint64_t kMeasure_ns = 20 * kMillisecond_ns;  // of one run at the least
constexpr int kRuns = 8;

struct Free {
  void operator()(std::byte* data) const { std::free(data); }
};

// The least time of kRuns of one job on every thread at once.
template <typename Body>
double fastest_seconds(kernels::ThreadPool& pool, const Body& body) {
  uint64_t best_ns = UINT64_MAX;
  for (int run = 0; run < kRuns; ++run) {
    const uint64_t begin_ns = monotonic_ns();
    pool.parallel_for(pool.threads(), 1, [&](size_t begin, size_t end) {
      for (size_t part = begin; part < end; ++part) body(part);
    });
    best_ns = std::min(best_ns, monotonic_ns() - begin_ns);
  }
  return static_cast<double>(std::max<uint64_t>(best_ns, 1)) / 1e9;
}

// How often `once` is to be done so that it takes kMeasure_ns.
template <typename Once>
uint64_t turns_for(const Once& once) {
  for (uint64_t turns = 1;; turns *= 2) {
    const uint64_t begin_ns = monotonic_ns();
    once(turns);
    const uint64_t taken_ns = monotonic_ns() - begin_ns;
    if (taken_ns * 4 >= kMeasure_ns) return std::max<uint64_t>(turns, turns * kMeasure_ns / taken_ns);
  }
}

ArithmeticPeak measure_peak(const kernels::PeakLoop& loop, kernels::ThreadPool& pool) {
  const auto run = [&](uint64_t turns) { [[maybe_unused]] const volatile float result = loop.run(turns); };
  const uint64_t turns = turns_for(run);
  const double seconds = fastest_seconds(pool, [&](size_t) { run(turns); });
  const auto operations = static_cast<double>(turns * loop.operations_per_turn * pool.threads());
  return {loop.arithmetic, loop.instruction, operations / seconds};
}

// Reads a thread's part once: from its begin to its end, or a piece each of streams that lie equally far
// apart, as the kernels read matrices. Which is faster depends on the host.
void read_once(const kernels::Peaks& peaks, const std::byte* part, uint64_t part_bytes, uint64_t streams) {
  const uint64_t stream_bytes = part_bytes / streams;
  const uint64_t piece_bytes = streams == 1 ? part_bytes : kPiece_bytes;
  for (uint64_t at = 0; at < stream_bytes; at += piece_bytes) {
    for (uint64_t stream = 0; stream < streams; ++stream) {
      [[maybe_unused]] const volatile uint64_t sum =
          peaks.read(part + stream * stream_bytes + at, piece_bytes);
    }
  }
}

Result<void> measure_reads(const kernels::Peaks& peaks, kernels::ThreadPool& pool, MachineLimits& limits) {
  const uint64_t part_bytes = limits.buffer_bytes / pool.threads() / kPartUnit_bytes * kPartUnit_bytes;
  limits.buffer_bytes = part_bytes * pool.threads();
  const std::unique_ptr<std::byte, Free> buffer(
      static_cast<std::byte*>(std::aligned_alloc(kPiece_bytes, limits.buffer_bytes)));
  if (!buffer) return fail(Code::kOutOfMemory, "no {} bytes to measure reads with", limits.buffer_bytes);
  std::memset(buffer.get(), 1, limits.buffer_bytes);
  for (const uint64_t streams : {uint64_t{1}, kStreamsMax}) {
    const auto read_part = [&](size_t part, uint64_t turns) {
      for (uint64_t turn = 0; turn < turns; ++turn)
        read_once(peaks, buffer.get() + part * part_bytes, part_bytes, streams);
    };
    const uint64_t turns = turns_for([&](uint64_t count) { read_part(0, count); });
    const double seconds = fastest_seconds(pool, [&](size_t part) { read_part(part, turns); });
    limits.read_bytes_per_second =
        std::max(limits.read_bytes_per_second, static_cast<double>(limits.buffer_bytes * turns) / seconds);
  }
  return {};
}

}  // namespace

std::string_view arithmetic_name(Arithmetic arithmetic) {
  constexpr std::string_view kNames[] = {"f32", "bf16", "int8"};
  static_assert(std::size(kNames) == static_cast<size_t>(Arithmetic::kCount));
  return kNames[static_cast<size_t>(arithmetic)];
}

const ArithmeticPeak& MachineLimits::peak(Arithmetic arithmetic) const {
  const auto found = std::ranges::find(peaks, arithmetic, &ArithmeticPeak::arithmetic);
  if (found != peaks.end()) return *found;
  CHECK(arithmetic != Arithmetic::kFloat32);
  return float32_peak();
}

const ArithmeticPeak& MachineLimits::peak_for(kernels::WeightType type) const {
  using kernels::WeightType;
  if (type == WeightType::kF32 || type == WeightType::kF16) return float32_peak();
  return peak(type == WeightType::kBF16 ? Arithmetic::kBFloat16 : Arithmetic::kInt8);
}

void MachineLimits::raise_to(const MachineLimits& other) {
  CHECK(peaks.size() == other.peaks.size());
  read_bytes_per_second = std::max(read_bytes_per_second, other.read_bytes_per_second);
  for (size_t i = 0; i < peaks.size(); ++i) {
    peaks[i].operations_per_second =
        std::max(peaks[i].operations_per_second, other.peaks[i].operations_per_second);
  }
}

void MachineLimits::divide_by(uint32_t shares) {
  threads /= shares;
  buffer_bytes /= shares;
  read_bytes_per_second /= shares;
  for (ArithmeticPeak& peak : peaks) peak.operations_per_second /= shares;
}

Result<MachineLimits> measure_limits(std::string_view isa, uint32_t threads, uint64_t read_bytes) {
  const kernels::Peaks* peaks = kernels::find_peaks(isa);
  if (peaks == nullptr) return fail(Code::kNotSupported, "no peaks are known for \"{}\"", isa);
  kernels::ThreadPool pool(threads);
  MachineLimits limits;
  limits.threads = pool.threads();
  limits.buffer_bytes =
      std::max(std::clamp(read_bytes, kBufferMin_bytes, kBufferMax_bytes), pool.threads() * kPartUnit_bytes);
  TRY(measure_reads(*peaks, pool, limits));
  for (const kernels::PeakLoop& loop : peaks->loops) limits.peaks.push_back(measure_peak(loop, pool));
  return limits;
}

}  // namespace deepserve::runner
