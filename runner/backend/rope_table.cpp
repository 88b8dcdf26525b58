#include "runner/backend/rope_table.h"

#include <cmath>

namespace deepserve::runner {

RopeTable::RopeTable(const ModelConfig& config, std::span<const float> factors) {
  frequencies_.resize(config.rotated_dims / 2);
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / config.rotated_dims;
    frequencies_[i] = std::pow(config.rope_base, exponent) * config.rope_position_scale;
    if (!factors.empty()) frequencies_[i] /= static_cast<double>(factors[i]);
  }
}

void RopeTable::angles(uint32_t position, float* cosines, float* sines) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double angle = position * frequencies_[i];
    cosines[i] = static_cast<float>(std::cos(angle));
    sines[i] = static_cast<float>(std::sin(angle));
  }
}

}  // namespace deepserve::runner
