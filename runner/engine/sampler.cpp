#include "runner/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ipc/base/check.h"
#include "runner/engine/philox.h"

namespace deepserve::runner {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Below e^-64 of the most likely token a whole vocabulary of them cannot move a draw of 53 bits.
constexpr double kNegligible = -64.0;
// What a probability of zero is reported as: JSON has no infinity (vLLM reports the same number).
constexpr float kLogprobMin = -9999.0f;

float largest(std::span<const float> logits) {
  float best = -kInfinity;
  for (const float logit : logits) best = std::max(best, logit);
  return best;
}

// The largest logit; kNumericFault when the row is no row of logits.
Result<float> checked_largest(std::span<const float> logits) {
  bool sound = true;
  for (const float logit : logits) sound &= logit < kInfinity;  // false for NaN, too
  if (!sound) {
    const auto bad = std::ranges::find_if(logits, [](float logit) { return !(logit < kInfinity); });
    return fail(Code::kNumericFault, "the model computed {} as the logit of token {}", *bad,
                bad - logits.begin());
  }
  const float best = largest(logits);
  if (best == -kInfinity) return fail(Code::kNumericFault, "the model gave every token a logit of -infinity");
  return best;
}

void mask_disallowed(std::span<float> logits, std::span<const uint64_t> allowed) {
  constexpr size_t kBits = 64;
  CHECK(allowed.size() == (logits.size() + kBits - 1) / kBits);
  for (size_t word = 0; word < allowed.size(); ++word) {
    if (allowed[word] == ~uint64_t{0}) continue;
    const auto part = logits.subspan(word * kBits, std::min(kBits, logits.size() - word * kBits));
    if (allowed[word] == 0) {
      std::ranges::fill(part, -kInfinity);
      continue;
    }
    for (size_t bit = 0; bit < part.size(); ++bit) {
      if ((allowed[word] >> bit & 1) == 0) part[bit] = -kInfinity;
    }
  }
}

}  // namespace

Result<void> check_logits(std::span<const float> logits) {
  TRY(checked_largest(logits));
  return {};
}

std::span<const float> Sampler::adjust(std::span<const float> logits, const Draw& draw) {
  const auto& generation = draw.generation;
  if (!draw.counts.active() && generation.logit_bias.empty() && draw.masked.empty() &&
      draw.masked_too.empty() && draw.allowed.empty()) {
    return logits;
  }
  adjusted_.assign(logits.begin(), logits.end());
  if (draw.counts.active()) {
    for (const auto& [token, count] : draw.counts.generated()) {
      if (token >= adjusted_.size()) continue;
      float& logit = adjusted_[token];
      logit = logit > 0 ? logit / generation.repetition_penalty : logit * generation.repetition_penalty;
      logit -= generation.frequency_penalty * static_cast<float>(count);
      if (count > 0) logit -= generation.presence_penalty;
    }
  }
  for (const auto& [token, bias] : generation.logit_bias) adjusted_[token] += bias;
  for (const auto masked : {draw.masked, draw.masked_too}) {
    for (const TokenId token : masked) {
      if (token < adjusted_.size()) adjusted_[token] = -kInfinity;
    }
  }
  if (!draw.allowed.empty()) mask_disallowed(adjusted_, draw.allowed);
  return adjusted_;
}

Result<TokenId> Sampler::sample(std::span<const float> raw, const Draw& draw) {
  TRY_ASSIGN(float logit_max, checked_largest(raw));
  const std::span<const float> logits = adjust(raw, draw);
  if (logits.data() != raw.data()) {
    const auto adjusted_max = checked_largest(logits);
    if (!adjusted_max) {
      return fail(Code::kInvalidRequest, "penalties, logit_bias and constraint leave no token to choose");
    }
    logit_max = *adjusted_max;
  }
  const auto& generation = draw.generation;
  if (generation.temperature == 0.0f) {
    return static_cast<TokenId>(std::ranges::find(logits, logit_max) - logits.begin());
  }
  collect(logits, logit_max, generation);
  if (generation.top_p < 1.0f) keep_top_p(generation.top_p, logits.size());
  if (generation.min_p > 0.0f) keep_min_p(generation.min_p);

  double total = 0;
  for (const auto& candidate : candidates_) total += candidate.weight;
  const double target = uniform_draw(generation.seed, draw.choice, draw.index) * total;
  double reached = 0;
  for (const auto& candidate : candidates_) {
    reached += candidate.weight;
    if (target < reached) return candidate.token;
  }
  return candidates_.back().token;  // the last sum was rounded down
}

// Candidates in the order of their ids, or of their likelihood when top-k cuts them; weights relative to the
// best.
void Sampler::collect(std::span<const float> logits, float logit_max, const ipc::Generation& generation) {
  candidates_.clear();
  for (size_t token = 0; token < logits.size(); ++token) {
    const double exponent = (static_cast<double>(logits[token]) - logit_max) / generation.temperature;
    if (!(exponent >= kNegligible)) continue;
    candidates_.push_back({static_cast<TokenId>(token), logits[token], exponent});
  }
  if (generation.top_k != 0 && generation.top_k < candidates_.size()) keep_top_k(generation.top_k);
  for (auto& candidate : candidates_) candidate.weight = std::exp(candidate.weight);
}

void Sampler::keep_top_k(uint32_t k) {
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  const auto end = candidates_.begin() + k;
  std::nth_element(candidates_.begin(), end, candidates_.end(), likelier);
  candidates_.erase(end, candidates_.end());
  std::ranges::sort(candidates_, likelier);
}

void Sampler::keep_top_p(float top_p, size_t vocabulary) {
  double total = 0;
  for (const auto& candidate : candidates_) total += candidate.weight;
  // All that are less likely than (1 - p) / vocabulary add up to less than 1 - p: the nucleus never reaches
  // them.
  const double floor = total * (1.0 - static_cast<double>(top_p)) / static_cast<double>(vocabulary);
  std::erase_if(candidates_, [floor](const Candidate& candidate) { return candidate.weight < floor; });
  std::ranges::sort(candidates_, [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  });
  double reached = 0;
  size_t kept = 0;
  while (kept < candidates_.size() && reached < static_cast<double>(top_p) * total) {
    reached += candidates_[kept++].weight;
  }
  candidates_.erase(candidates_.begin() + static_cast<ptrdiff_t>(kept), candidates_.end());
}

void Sampler::keep_min_p(float min_p) {
  double best = 0;
  for (const auto& candidate : candidates_) best = std::max(best, candidate.weight);
  const double floor = best * static_cast<double>(min_p);
  std::erase_if(candidates_, [floor](const Candidate& candidate) { return candidate.weight < floor; });
}

std::span<const RankedToken> Sampler::logprobs(std::span<const float> logits, TokenId chosen,
                                               uint8_t alternatives) {
  const float best = largest(logits);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit) - best);
  const double log_total = std::log(total) + best;

  // A sorted list of the best so far; ids rise, so an equal logit that comes later ranks lower.
  ranked_.clear();
  for (size_t token = 0; alternatives > 0 && token < logits.size(); ++token) {
    if (ranked_.size() == alternatives && !(logits[token] > ranked_.back().logprob)) continue;
    if (ranked_.size() == alternatives) ranked_.pop_back();
    const auto place =
        std::ranges::upper_bound(ranked_, logits[token], std::ranges::greater{}, &RankedToken::logprob);
    ranked_.insert(place, {static_cast<TokenId>(token), logits[token]});
  }
  ranked_.insert(ranked_.begin(), {chosen, logits[chosen]});
  for (auto& ranked : ranked_) {
    ranked.logprob = std::max(static_cast<float>(ranked.logprob - log_total), kLogprobMin);
  }
  return ranked_;
}

}  // namespace deepserve::runner
