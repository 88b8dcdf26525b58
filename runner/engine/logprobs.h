// Log probabilities out of what a sampler, or a device that draws by itself, knows of a row.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/token_weights.h"

namespace deepserve::runner {

// What a probability of zero is reported as: JSON has no infinity (vLLM reports the same number).
inline constexpr float kLogprobMin = -9999.0f;

// The logarithm of the sum of all logits' exponentials: `total` are the weights beside the largest, `best`.
inline double log_of_total(kernels::TokenWeight total, float best) {
  return std::log(static_cast<double>(total) / kernels::kWeightUnit) + static_cast<double>(best);
}

inline float logprob_of(float logit, double log_total) {
  return std::max(static_cast<float>(static_cast<double>(logit) - log_total), kLogprobMin);
}

}  // namespace deepserve::runner
