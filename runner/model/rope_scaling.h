// How rotary position embeddings are stretched beyond the context that a model was first trained on.
//
// Sources: linear: Chen et al., Position Interpolation (arXiv:2306.15595); YaRN: Peng et al.
// (arXiv:2309.00071); llama3: Llama 3.1's own, as `transformers` writes it down (modeling_rope_utils.py).
// GGUF states Llama 3's as a tensor of divisors instead (ModelWeights::rope_factors).
#pragma once

#include <cstdint>

namespace deepserve::runner {

enum class RopeScalingKind : uint8_t { kNone, kLinear, kLlama3, kYarn };

struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::kNone;
  double factor = 1;                     // the context grows by it
  uint32_t original_context_tokens = 0;  // that the model was first trained on; kLlama3, kYarn

  // kLlama3: wavelengths above original / low are stretched by all of `factor`, those below original / high
  // not at all. high > low > 0.
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;

  // kYarn: pairs that turn more than beta_fast times within the original context are kept, those that turn
  // less than beta_slow times are stretched.
  double beta_fast = 32;
  double beta_slow = 1;
  bool whole_pairs = true;      // the borders between them are rounded outwards to whole pairs ("truncate")
  double attention_factor = 1;  // cosines and sines are multiplied by it
};

// YaRN's own attention factor for a context that grew by `factor`: 0.1 weight ln(factor) + 1, at least 1.
double yarn_attention_factor(double factor, double weight = 1);

}  // namespace deepserve::runner
