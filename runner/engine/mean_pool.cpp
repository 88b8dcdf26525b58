#include "runner/engine/mean_pool.h"

#include <cmath>

#include "ipc/base/check.h"

namespace deepserve::runner {

void MeanPool::add(uint32_t position, std::span<const float> rows, uint32_t width) {
  if (position == 0) {
    sums_.assign(width, 0.0);
    tokens_ = 0;
  }
  CHECK(position == tokens_ && sums_.size() == width && rows.size() % width == 0);
  for (size_t at = 0; at < rows.size(); at += width) {
    for (uint32_t i = 0; i < width; ++i) sums_[i] += static_cast<double>(rows[at + i]);
    ++tokens_;
  }
}

Result<std::vector<float>> MeanPool::embedding() const {
  CHECK(tokens_ > 0);
  std::vector<double> mean(sums_);
  double squares = 0;
  for (double& value : mean) {
    value /= tokens_;
    squares += value * value;
  }
  const double length = std::sqrt(squares);
  if (!(length > 0) || !std::isfinite(length)) {
    return fail(Code::kNumericFault, "the model's hidden states have a mean of length {}", length);
  }
  std::vector<float> values;
  values.reserve(mean.size());
  for (const double value : mean) values.push_back(static_cast<float>(value / length));
  return values;
}

}  // namespace deepserve::runner
