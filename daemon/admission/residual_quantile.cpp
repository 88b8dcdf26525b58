#include "daemon/admission/residual_quantile.h"

#include <algorithm>
#include <cmath>

namespace deepserve::daemon {

void ResidualQuantile::add(double predicted_s, double stretched_s, double actual_s) {
  const bool missed = actual_s > stretched_s;
  if (count_ >= kEnough) {
    correction_ *= std::exp(missed ? kStep * kCovered : -kStep * (1 - kCovered));
    correction_ = std::clamp(correction_, 0.25, 8.0);
  }
  const double ratio = (std::max(0.0, actual_s) + kFloor_s) / (std::max(0.0, predicted_s) + kFloor_s);
  ratios_[count_++ % kWindow] = static_cast<float>(std::clamp(ratio, 1e-3, 1e3));
  factor_ = count_ < kEnough ? kUnknown : quantile(kCovered);
  middle_ = count_ < kEnough ? 1 : quantile(0.5);
  least_ = count_ < kEnough ? 1 : quantile(1 - kCovered);
}

double ResidualQuantile::scaled(double factor, double predicted_s) {
  return std::max(0.0, factor * (std::max(0.0, predicted_s) + kFloor_s) - kFloor_s);
}

double ResidualQuantile::stretched(double predicted_s) const {
  return scaled(factor_ * correction_, predicted_s);
}

double ResidualQuantile::median(double predicted_s) const {
  return scaled(middle_, predicted_s);
}

double ResidualQuantile::least(double predicted_s) const {
  return scaled(least_, predicted_s);
}

double ResidualQuantile::quantile(double q) const {
  auto sorted = ratios_;
  const size_t size = std::min<size_t>(count_, kWindow);
  const auto place = static_cast<size_t>(q * static_cast<double>(size));
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(place),
                   sorted.begin() + static_cast<ptrdiff_t>(size));
  return sorted[place];
}

}  // namespace deepserve::daemon
