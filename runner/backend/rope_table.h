// Rotary position embedding: the cosines and sines of a token's position, computed once per token and step.
//
// Source: Su et al., RoFormer (arXiv:2104.09864); what stretches them: rope_scaling.h. Angles are computed in
// float64: at position 100,000 a float32 angle is wrong in its third digit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runner/model/model_config.h"

namespace deepserve::runner {

class RopeTable {
 public:
  // `factors`: divisors of the frequencies [rotated_dims / 2], or empty.
  RopeTable(const ModelConfig& config, std::span<const float> factors);

  size_t pairs() const { return frequencies_.size(); }
  std::span<const double> frequencies() const { return frequencies_; }  // [pairs], radians per position
  double attention_factor() const { return attention_factor_; }         // that cosines and sines have
  // cosines, sines: [pairs], multiplied by the attention factor of YaRN where there is one
  void angles(uint32_t position, float* cosines, float* sines) const;

 private:
  std::vector<double> frequencies_;  // [rotated_dims / 2], radians per position
  double attention_factor_;
};

}  // namespace deepserve::runner
