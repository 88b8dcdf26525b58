// How fast a step could be at best on a host of known limits, and by what it is bound: the longer of the time
// to read its bytes and the time to do its operations (Williams, Waterman, Patterson: "Roofline", 2009).
// Pure.
#pragma once

#include "runner/backend/step_work.h"
#include "runner/bench/machine_limits.h"

namespace deepserve::runner {

struct Bound {
  double read_seconds = 0;     // all bytes at the read bandwidth
  double compute_seconds = 0;  // matrices at the peak for their types, attention at that of float32
  double operations = 0;       // all of them

  Bound& operator+=(const Bound& other);  // of one step after another of the same kind
  double seconds() const { return read_seconds > compute_seconds ? read_seconds : compute_seconds; }
  const char* by() const { return read_seconds > compute_seconds ? "reads" : "arithmetic"; }
};

Bound bound_of(const StepWork& work, const StepShape& shape, const MachineLimits& limits);

}  // namespace deepserve::runner
