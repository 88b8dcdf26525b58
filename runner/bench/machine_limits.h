// What this host can do at the most, measured: how fast its threads read memory, and how many operations a
// second its instructions reach. Everything that a bench prints is held against these, of the same run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "kernels/cpu/peaks.h"
#include "kernels/cpu/weight_format.h"

namespace deepserve::runner {

struct ArithmeticPeak {
  kernels::Arithmetic arithmetic = kernels::Arithmetic::kFloat32;
  std::string instruction;
  double operations_per_second = 0;  // of all threads together
};

struct MachineLimits {
  uint32_t threads = 0;
  uint64_t buffer_bytes = 0;         // over which the reads went
  double read_bytes_per_second = 0;  // of one stream a thread, or of several, whichever is faster
  std::vector<ArithmeticPeak> peaks;

  // For weights of `type`: that of 8-bit integers for quantised ones and of bfloat16 for BF16, where the
  // instruction set has them, else that of float32.
  const ArithmeticPeak& peak_for(kernels::WeightType type) const;
  const ArithmeticPeak& float32_peak() const { return peak(kernels::Arithmetic::kFloat32); }

  // Each limit becomes the higher of both. `other`: of the same instruction set and threads.
  void raise_to(const MachineLimits& other);
  // What one of `shares` has while all are busy.
  void divide_by(uint32_t shares);

 private:
  const ArithmeticPeak& peak(kernels::Arithmetic arithmetic) const;
};

std::string_view arithmetic_name(kernels::Arithmetic arithmetic);  // "f32", "bf16", "int8"

// The best of several short runs of each, some half a second in all. Reads go over `read_bytes` of memory,
// within bounds: as much as a step reads, so that what fits into a cache is held against that cache.
// kOutOfMemory. kNotSupported: an `isa` whose peaks nobody has written down.
Result<MachineLimits> measure_limits(std::string_view isa, uint32_t threads, uint64_t read_bytes);

}  // namespace deepserve::runner
