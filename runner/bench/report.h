// What a bench found, as a table for people or as JSON for programs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runner/backend/backend.h"
#include "runner/bench/machine_limits.h"
#include "runner/bench/roofline.h"
#include "runner/bench/step_timer.h"

namespace deepserve::runner {

// What a measurement of prefill without a library's choices is called.
inline constexpr const char* kDeterministicPrefill = "deterministic prefill";

// One kind of work, timed several times.
struct Measurement {
  const char* what = "";               // "prefill", "decode", kDeterministicPrefill
  uint32_t sequences = 0;              // that ran at once
  uint64_t tokens = 0;                 // new ones of one repeat, of all sequences
  std::vector<StepShape> shapes = {};  // of the steps of one repeat
  Durations_ns durations = {};         // of the repeats, at least one
};

struct BenchReport {
  std::string model;
  BackendInfo backend;
  uint32_t context_tokens = 0;  // before the first decoded token
  double load_seconds = 0;
  MachineLimits limits;  // measured before and after the rest, and the higher taken
  std::vector<Measurement> measurements;
};

// Both to stdout.
void print_table(const BenchReport& report);
void print_json(const BenchReport& report);

}  // namespace deepserve::runner
