// The order of operations of runner/engine/sampler.h over the whole row, one after the other, everything
// sorted and summed in double: what the sampler's short cuts are held to.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "runner/engine/philox.h"
#include "runner/engine/sampler.h"

namespace deepserve::runner::testing {

struct PlainCandidate {
  TokenId token;
  float logit;
  double weight;
};

inline std::vector<float> plainly_adjusted(std::vector<float> row, const Draw& draw) {
  const auto& generation = draw.generation;
  for (const auto& [token, count] : draw.counts.entries()) {
    float& logit = row[token];
    logit = logit > 0 ? logit / generation.repetition_penalty : logit * generation.repetition_penalty;
    logit -= generation.frequency_penalty * static_cast<float>(count);
    if (count > 0) logit -= generation.presence_penalty;
  }
  for (const auto& [token, bias] : generation.logit_bias) row[token] += bias;
  for (const TokenId token : draw.masked) row[token] = -std::numeric_limits<float>::infinity();
  for (size_t token = 0; !draw.allowed.empty() && token < row.size(); ++token) {
    const bool may = (draw.allowed[token / 64] >> token % 64 & 1) != 0;
    if (!may) row[token] = -std::numeric_limits<float>::infinity();
  }
  return row;
}

inline TokenId plain_sample(const std::vector<float>& raw, const Draw& draw) {
  const auto& generation = draw.generation;
  const std::vector<float> row = plainly_adjusted(raw, draw);
  const auto best = std::ranges::max_element(row);
  if (generation.temperature == 0.0f) return static_cast<TokenId>(best - row.begin());
  std::vector<PlainCandidate> candidates;
  for (TokenId token = 0; token < row.size(); ++token) {
    const double exponent = (static_cast<double>(row[token]) - *best) / generation.temperature;
    if (exponent >= -64) candidates.push_back({token, row[token], std::exp(exponent)});
  }
  const auto likelier = [](const PlainCandidate& a, const PlainCandidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  if (generation.top_k != 0 && generation.top_k < candidates.size()) {
    std::ranges::sort(candidates, likelier);
    candidates.resize(generation.top_k);
  }
  double total = 0;
  if (generation.top_p < 1.0f) {
    for (const auto& candidate : candidates) total += candidate.weight;
    std::ranges::sort(candidates, likelier);
    double reached = 0;
    size_t kept = 0;
    while (kept < candidates.size() && reached < static_cast<double>(generation.top_p) * total) {
      reached += candidates[kept++].weight;
    }
    candidates.resize(kept);
  }
  std::erase_if(candidates, [&](const PlainCandidate& c) { return c.weight < generation.min_p; });
  total = 0;
  for (const auto& candidate : candidates) total += candidate.weight;
  const double target = uniform_draw(generation.seed, draw.choice, draw.index) * total;
  double reached = 0;
  for (const auto& candidate : candidates) {
    reached += candidate.weight;
    if (target < reached) return candidate.token;
  }
  return candidates.back().token;
}

}  // namespace deepserve::runner::testing
