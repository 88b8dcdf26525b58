// How long prompts and answers are: mixtures of lognormals in the shape that published traces of chat,
// document and code services have (Azure's LLM inference trace, Patel et al., "Splitwise", 2024; BurstGPT,
// Wang et al., 2024): medians of some hundred tokens, tails of some thousand.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/sim/random.h"

namespace deepserve::sim {

struct LengthPart {
  double weight = 1;
  double prompt_median = 100;
  double prompt_sigma = 0.8;
  uint32_t prompt_max = 1'000;
  double output_median = 100;
  double output_sigma = 0.7;
  uint32_t output_max = 600;
};

struct Lengths {
  uint32_t prompt_tokens = 0;
  uint32_t output_tokens = 0;
};

using LengthMix = std::vector<LengthPart>;

// Short questions of people who wait for the answer.
inline LengthMix vip_lengths() {
  return {{1, 60, 0.55, 200, 60, 0.6, 300}};
}
inline LengthMix normal_lengths() {
  return {{0.75, 110, 0.8, 800, 100, 0.7, 600},     // chat
          {0.10, 900, 0.4, 2'000, 80, 0.6, 400},    // long documents
          {0.15, 260, 0.7, 1'200, 180, 0.6, 800}};  // code
}
inline LengthMix batch_lengths() {
  return {{0.5, 200, 0.8, 1'500, 120, 0.8, 800}, {0.5, 900, 0.4, 2'000, 60, 0.6, 400}};
}

inline Lengths draw(const LengthMix& mix, double prompt_scale, double output_scale, Random& random) {
  double weights = 0;
  for (const auto& part : mix) weights += part.weight;
  double pick = random.uniform() * weights;
  const LengthPart* chosen = &mix.back();
  for (const auto& part : mix) {
    if ((pick -= part.weight) > 0) continue;
    chosen = &part;
    break;
  }
  const auto length = [&](double median, double sigma, double most, double scale) {
    const double tokens = scale * std::clamp(random.lognormal(median, sigma), 2.0, most);
    return static_cast<uint32_t>(tokens);
  };
  const uint32_t prompt =
      length(chosen->prompt_median, chosen->prompt_sigma, chosen->prompt_max, prompt_scale);
  return {prompt, length(chosen->output_median, chosen->output_sigma, chosen->output_max, output_scale)};
}

}  // namespace deepserve::sim
