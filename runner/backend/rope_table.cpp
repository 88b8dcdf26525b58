#include "runner/backend/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace deepserve::runner {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

double llama3_frequency(double frequency, const RopeScaling& scaling) {
  // How often the pair turns within the original context.
  const double turns = scaling.original_context_tokens * frequency / kTurn;
  if (turns > scaling.high_frequency_factor) return frequency;
  if (turns < scaling.low_frequency_factor) return frequency / scaling.factor;
  const double kept =
      (turns - scaling.low_frequency_factor) / (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return (1 - kept) * frequency / scaling.factor + kept * frequency;
}

// The pair, as a real number, that turns `turns` times within the original context.
double yarn_pair(double turns, const ModelConfig& config) {
  return config.rotated_dims * std::log(config.rope_scaling.original_context_tokens / (turns * kTurn)) /
         (2 * std::log(config.rope_base));
}

void stretch_by_yarn(const ModelConfig& config, std::vector<double>& frequencies) {
  const RopeScaling& scaling = config.rope_scaling;
  double first = yarn_pair(scaling.beta_fast, config), last = yarn_pair(scaling.beta_slow, config);
  if (scaling.whole_pairs) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, config.rotated_dims - 1.0);
  if (first == last) last += 0.001;  // as the reference: a step, not a division by zero
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double stretched = std::clamp((static_cast<double>(i) - first) / (last - first), 0.0, 1.0);
    frequencies[i] = frequencies[i] / scaling.factor * stretched + frequencies[i] * (1 - stretched);
  }
}

}  // namespace

RopeTable::RopeTable(const ModelConfig& config, std::span<const float> factors)
    : frequencies_(config.rotated_dims / 2), attention_factor_(1) {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / config.rotated_dims;
    frequencies_[i] = std::pow(config.rope_base, exponent);
  }
  const RopeScaling& scaling = config.rope_scaling;
  switch (scaling.kind) {
    case RopeScalingKind::kNone:
      break;
    case RopeScalingKind::kLinear:
      for (double& frequency : frequencies_) frequency *= 1 / scaling.factor;
      break;
    case RopeScalingKind::kLlama3:
      for (double& frequency : frequencies_) frequency = llama3_frequency(frequency, scaling);
      break;
    case RopeScalingKind::kYarn:
      stretch_by_yarn(config, frequencies_);
      attention_factor_ = scaling.attention_factor;
      break;
  }
  for (size_t i = 0; i < factors.size(); ++i) frequencies_[i] /= static_cast<double>(factors[i]);
}

void RopeTable::angles(uint32_t position, float* cosines, float* sines) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const double angle = position * frequencies_[i];
    cosines[i] = static_cast<float>(std::cos(angle) * attention_factor_);
    sines[i] = static_cast<float>(std::sin(angle) * attention_factor_);
  }
}

}  // namespace deepserve::runner
