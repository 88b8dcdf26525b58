// The checked form of a bench's options.
#pragma once

#include <optional>
#include <vector>

#include "ctl/bench/bench_options.h"
#include "ctl/bench/generator.h"

namespace deepserve::ctl::bench {

enum class LoadKind {
  kCapacity,    // only the search
  kRates,       // points are requests/s
  kLoads,       // points are multiples of the capacity
  kConcurrent,  // points are clients in a closed loop
  kTrace,       // one point
};

struct Settings {
  LoadKind kind = LoadKind::kRates;
  std::vector<double> points;
  std::optional<double> capacity_per_s;  // as given; else it is found where it is needed
  std::vector<TraceRow> trace;
  double gap_cv = 1;
  ClassMix mix;
  Workload workload;
  std::optional<uint64_t> duration_ns;  // nothing: all of the trace
  uint64_t warmup_ns = 0;
  uint64_t drain_ns = 0;
  uint64_t probe_ns = 0;
  uint64_t seed = 1;
  GeneratorOptions generator;  // but for the host and prefix, which the endpoint knows

  const Slo& slo() const { return generator.shape.slo; }
};

// kUsage names the option and what is wrong with it, or the file and its line; kIo: a file cannot be read.
Result<Settings> check_options(const BenchOptions& options);

}  // namespace deepserve::ctl::bench
