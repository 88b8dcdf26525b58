#include "runner/bench/roofline.h"

namespace deepserve::runner {

Bound& Bound::operator+=(const Bound& other) {
  read_seconds += other.read_seconds;
  compute_seconds += other.compute_seconds;
  operations += other.operations;
  return *this;
}

Bound bound_of(const StepWork& work, const StepShape& shape, const MachineLimits& limits) {
  Bound bound;
  bound.read_seconds = static_cast<double>(work.bytes(shape)) / limits.read_bytes_per_second;
  bound.operations = static_cast<double>(work.attention_operations(shape));
  bound.compute_seconds = bound.operations / limits.float32_peak().operations_per_second;
  for (size_t i = 0; i < work.weights.size(); ++i) {
    const auto operations = static_cast<double>(work.matrix_operations(i, shape));
    bound.operations += operations;
    bound.compute_seconds += operations / limits.peak_for(work.weights[i].type).operations_per_second;
  }
  return bound;
}

}  // namespace deepserve::runner
