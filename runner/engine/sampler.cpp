#include "runner/engine/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ipc/base/check.h"
#include "kernels/philox.h"
#include "runner/engine/draw_faults.h"
#include "runner/engine/logprobs.h"

namespace deepserve::runner {
namespace {

using kernels::kExponentMin;
using kernels::kLogitsChunk;
using kernels::kWeightUnit;
using kernels::logits_chunks;
using kernels::scale_of;
using kernels::token_weight;
using kernels::TokenWeight;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kFewCandidates = 128;  // are sorted as they are
constexpr size_t kBuckets = 256;
// Of thresholds' exponents, for what the exponentials' rounding may do to the weights that they stand for.
constexpr double kExponentMargin = 1e-5;
// What a change makes wrong of its chunk.
constexpr uint8_t kSumChanged = 1;
constexpr uint8_t kLargestLost = 2;

struct Likelier {
  template <typename T>
  bool operator()(const T& a, const T& b) const {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  }
};

// A logit that is surely not above those whose weight is e^exponent.
float logit_below(float largest, double exponent, float temperature) {
  const double logit = static_cast<double>(largest) + exponent * static_cast<double>(temperature);
  const double margin = (std::abs(logit) + std::abs(static_cast<double>(largest))) * 1e-6;
  return static_cast<float>(
      std::max(logit - margin, -static_cast<double>(std::numeric_limits<float>::max())));
}

}  // namespace

float Sampler::sums_scale(const ipc::Generation& generation) {
  const bool from_all = generation.temperature > 0 && generation.top_k == 0 &&
                        generation.constraint.kind == ipc::ConstraintKind::kNone;
  if (from_all && (generation.top_p < 1.0f || generation.min_p == 0)) return scale_of(generation.temperature);
  return generation.logprobs != ipc::kNoLogprobs ? 1.0f : 0.0f;
}

// False: one of them is not that of logits.
bool Sampler::find_best(std::span<const float> largest, float& best) {
  order_.resize(logits_chunks(largest.size()));
  const bool sound = kernels_.find_largest(largest.data(), largest.size(), order_.data());
  best = *std::ranges::max_element(order_);
  return sound;
}

Result<Sampler::Row> Sampler::look_at(const LogitsRow& given) {
  const std::span<const float> logits = given.logits;
  Row row{logits, given.largest, 0, given.sums, given.sums_scale};
  bool sound = true;
  if (row.largest.empty()) {
    largest_.resize(logits_chunks(logits.size()));
    sound = kernels_.find_largest(logits.data(), logits.size(), largest_.data());
    row.largest = largest_;
    row.sums_scale = 0;
  }
  if (!sound || !find_best(row.largest, row.best)) {
    const auto bad = std::ranges::find_if(logits, [](float logit) { return !(logit < kInfinity); });
    CHECK(bad != logits.end());
    return not_a_logit(*bad, static_cast<size_t>(bad - logits.begin()));
  }
  if (row.best == -kInfinity) return all_logits_are_zero();
  changed_.clear();
  if (indices_.size() < logits.size() + 16) indices_.resize(logits.size() + 16);
  return row;
}

Result<void> Sampler::check(const LogitsRow& row) {
  TRY(look_at(row));
  return {};
}

void Sampler::patch(std::span<float> logits, TokenId token, float value) {
  const size_t chunk = token / kLogitsChunk;
  float& logit = logits[token];
  undo_.emplace_back(token, logit);
  changed_[chunk] |= kSumChanged;
  if (value >= largest_[chunk]) {
    largest_[chunk] = value;
  } else if (logit == largest_[chunk]) {
    changed_[chunk] |= kLargestLost;
  }
  logit = value;
}

bool Sampler::patch_all(std::span<float> logits, const Draw& draw) {
  const auto& generation = draw.generation;
  bool sound = true;
  for (const auto& [token, count] : draw.counts.entries()) {
    if (token >= logits.size()) continue;
    float logit = logits[token];
    logit = logit > 0 ? logit / generation.repetition_penalty : logit * generation.repetition_penalty;
    logit -= generation.frequency_penalty * static_cast<float>(count);
    if (count > 0) logit -= generation.presence_penalty;
    patch(logits, token, logit);
  }
  for (const auto& [token, bias] : generation.logit_bias) patch(logits, token, logits[token] + bias);
  for (const auto masked : {draw.masked, draw.masked_too}) {
    for (const TokenId token : masked) {
      if (token < logits.size()) patch(logits, token, -kInfinity);
    }
  }
  for (const auto& [token, before] : undo_) sound &= logits[token] < kInfinity;
  return sound;
}

// Back to what it was, the last change first: a token may have been changed twice.
void Sampler::restore(std::span<float> logits) {
  for (auto change = undo_.rbegin(); change != undo_.rend(); ++change) logits[change->first] = change->second;
  undo_.clear();
}

// The row as it is to be drawn from. The given one holds the patches until they are restored.
Result<Sampler::Row> Sampler::adjust(const LogitsRow& given, const Row& raw, const Draw& draw) {
  const std::span<float> logits = given.logits;
  if (raw.largest.data() != largest_.data()) largest_.assign(raw.largest.begin(), raw.largest.end());
  changed_.assign(largest_.size(), 0);
  bool sound = patch_all(logits, draw);
  Row row{logits, largest_, 0, raw.sums, raw.sums_scale};
  if (!draw.allowed.empty()) {
    CHECK(draw.allowed.size() == (logits.size() + 63) / 64);
    if (masked_.size() < logits.size()) masked_.resize(logits.size());
    sound = kernels_.mask(logits.data(), logits.size(), draw.allowed.data(), masked_.data(), largest_.data());
    row.logits = std::span<const float>(masked_).first(logits.size());
    row.sums_scale = 0;
  } else {
    for (size_t chunk = 0; chunk < changed_.size(); ++chunk) {
      if ((changed_[chunk] & kLargestLost) == 0) continue;
      const size_t begin = chunk * kLogitsChunk;
      const size_t size = std::min(kLogitsChunk, logits.size() - begin);
      kernels_.find_largest(&logits[begin], size, &largest_[chunk]);
    }
  }
  if (!find_best(largest_, row.best)) sound = false;
  if (!sound || row.best == -kInfinity) return nothing_left_to_choose();
  return row;
}

Result<TokenId> Sampler::sample(const LogitsRow& given, const Draw& draw) {
  TRY_ASSIGN(const Row raw, look_at(given));
  if (!draw.counts.active() && draw.generation.logit_bias.empty() && draw.masked.empty() &&
      draw.masked_too.empty() && draw.allowed.empty()) {
    return pick(raw, draw);
  }
  const auto row = adjust(given, raw, draw);
  Result<TokenId> token = row ? Result<TokenId>(pick(*row, draw)) : tl::unexpected(row.error());
  restore(given.logits);
  return token;
}

TokenId Sampler::pick(const Row& row, const Draw& draw) {
  const auto& generation = draw.generation;
  if (generation.temperature == 0.0f) return pick_largest(row);
  const uint64_t bits = kernels::draw_bits(generation.seed, draw.choice, draw.index);
  if (generation.top_k != 0 && generation.top_k < row.logits.size()) {
    collect_top_k(row, generation);
    if (generation.top_p < 1.0f) keep_top_p(generation.top_p, candidates_weight(), row.logits.size());
  } else if (generation.top_p < 1.0f) {
    collect_top_p(row, generation);
  } else if (generation.min_p > 0.0f) {
    collect(row, generation.temperature,
            logit_below(row.best, std::log(static_cast<double>(generation.min_p)) - kExponentMargin,
                        generation.temperature));
  } else {
    return pick_of_all(row, generation.temperature, bits);
  }
  if (generation.min_p > 0.0f) {  // the most likely one's exponential is 1
    std::erase_if(candidates_, [&](const Candidate& one) { return one.exponential < generation.min_p; });
  }
  return pick_of_candidates(bits);
}

TokenId Sampler::pick_largest(const Row& row) {
  const auto chunk = std::ranges::find(row.largest, row.best) - row.largest.begin();
  const auto begin = row.logits.begin() + chunk * static_cast<ptrdiff_t>(kLogitsChunk);
  return static_cast<TokenId>(std::find(begin, row.logits.end(), row.best) - row.logits.begin());
}

// Of the chunks' exponentials, each with its largest logit as offset.
std::span<const float> Sampler::sums_of(const Row& row, float scale) {
  const bool known = row.sums_scale == scale;
  if (known && changed_.empty()) return row.sums;
  sums_.resize(row.largest.size());
  if (!known) {
    kernels_.sum_exponentials(row.logits.data(), row.logits.size(), row.largest.data(), scale, sums_.data());
    return sums_;
  }
  for (size_t chunk = 0; chunk < sums_.size(); ++chunk) {
    sums_[chunk] = row.sums[chunk];
    if (changed_[chunk] == 0) continue;
    const size_t begin = chunk * kLogitsChunk;
    kernels_.sum_exponentials(&row.logits[begin], std::min(kLogitsChunk, row.logits.size() - begin),
                              &row.largest[chunk], scale, &sums_[chunk]);
  }
  return sums_;
}

// The sum of all weights; weights_ has those of the chunks.
TokenWeight Sampler::total_weight(const Row& row, float scale) {
  const auto sums = sums_of(row, scale);
  factors_.resize(sums.size());
  weights_.resize(sums.size());
  kernels_.exponentials(row.largest.data(), row.largest.size(), row.best, scale, factors_.data());
  TokenWeight total = 0;
  for (size_t chunk = 0; chunk < sums.size(); ++chunk) {
    weights_[chunk] = token_weight(sums[chunk], factors_[chunk]);
    total += weights_[chunk];
  }
  return total;
}

// First the chunk, then the token in it. A chunk's weight and those of its tokens differ in their last bits:
// where the chunk ends before the point is passed, its last token with any exponential is taken.
TokenId Sampler::pick_of_all(const Row& row, float temperature, uint64_t bits) {
  const float scale = scale_of(temperature);
  const TokenWeight point = kernels::drawn_point(total_weight(row, scale), bits);
  TokenWeight reached = 0;
  size_t chunk = 0;
  while (reached + weights_[chunk] <= point) reached += weights_[chunk++];
  const size_t begin = chunk * kLogitsChunk;
  const auto part = row.logits.subspan(begin, std::min(kLogitsChunk, row.logits.size() - begin));
  std::array<float, kLogitsChunk> exponentials;
  kernels_.exponentials(part.data(), part.size(), row.largest[chunk], scale, exponentials.data());
  size_t token = 0;
  for (size_t i = 0; i < part.size(); ++i) {
    if (exponentials[i] == 0) continue;
    token = i;
    reached += token_weight(exponentials[i], factors_[chunk]);
    if (point < reached) break;
  }
  return static_cast<TokenId>(begin + token);
}

TokenWeight Sampler::candidates_weight() const {
  TokenWeight total = 0;
  for (const auto& candidate : candidates_) total += token_weight(candidate.exponential);
  return total;
}

TokenId Sampler::pick_of_candidates(uint64_t bits) const {
  const TokenWeight point = kernels::drawn_point(candidates_weight(), bits);
  TokenWeight reached = 0;
  for (const auto& candidate : candidates_) {
    reached += token_weight(candidate.exponential);
    if (point < reached) return candidate.token;
  }
  CHECK(false);
}

// All tokens from `threshold` up whose weight is not negligible, in the order of their ids.
void Sampler::collect(const Row& row, float temperature, float threshold) {
  threshold = std::max(threshold, logit_below(row.best, kExponentMin, temperature));
  const size_t found =
      kernels_.collect(row.logits.data(), row.logits.size(), row.largest.data(), threshold, indices_.data());
  exponentials_.resize(found);
  for (size_t i = 0; i < found; ++i) exponentials_[i] = row.logits[indices_[i]];
  kernels_.exponentials(exponentials_.data(), found, row.best, scale_of(temperature), exponentials_.data());
  candidates_.clear();
  for (size_t i = 0; i < found; ++i) {
    if (exponentials_[i] > 0) candidates_.push_back({indices_[i], row.logits[indices_[i]], exponentials_[i]});
  }
}

// The n-th largest of the chunks' largest logits: at least n tokens have it or more. -infinity when there are
// fewer chunks.
float Sampler::nth_largest_chunk(const Row& row, size_t n) {
  if (n > row.largest.size()) return -kInfinity;
  order_.assign(row.largest.begin(), row.largest.end());
  const auto nth = order_.begin() + static_cast<ptrdiff_t>(n - 1);
  std::nth_element(order_.begin(), nth, order_.end(), std::greater());
  return *nth;
}

// In the order of likelihood when there were more than k, of ids otherwise.
void Sampler::collect_top_k(const Row& row, const ipc::Generation& generation) {
  const size_t k = generation.top_k;
  collect(row, generation.temperature, nth_largest_chunk(row, k + 1));
  if (candidates_.size() <= k) return;
  const auto end = candidates_.begin() + static_cast<ptrdiff_t>(k);
  std::nth_element(candidates_.begin(), end, candidates_.end(), Likelier());
  candidates_.erase(end, candidates_.end());
  std::ranges::sort(candidates_, Likelier());
}

// Looks among the most likely ones first, and only when they do not reach p among more of them.
void Sampler::collect_top_p(const Row& row, const ipc::Generation& generation) {
  const float temperature = generation.temperature;
  const TokenWeight total = total_weight(row, scale_of(temperature));
  const auto vocabulary = static_cast<uint32_t>(row.logits.size());
  const double negligible = kernels::negligible_weight(generation.top_p, total, vocabulary) / kWeightUnit;
  const double exponent_last =
      std::clamp(std::log(negligible), static_cast<double>(kExponentMin), -0.01) - kExponentMargin;
  const TokenWeight wanted = kernels::nucleus_weight(generation.top_p, total);
  for (double exponent = -4;; exponent *= 1.5) {
    exponent = std::max(exponent, exponent_last);
    collect(row, temperature, logit_below(row.best, exponent, temperature));
    if (candidates_weight() < wanted && exponent > exponent_last) continue;
    keep_likeliest(wanted, -exponent * static_cast<double>(temperature) / kBuckets, row.best);
    break;
  }
  keep_top_p(generation.top_p, total, row.logits.size());
}

// Drops candidates that are less likely than those that add up to `weight`: as many as can be told without
// sorting them. Buckets are ranges of logits.
void Sampler::keep_likeliest(TokenWeight weight, double bucket_width, float largest) {
  if (candidates_.size() <= kFewCandidates) return;
  const auto bucket_of = [bucket_width, largest](const Candidate& candidate) {
    const double bucket = (static_cast<double>(largest) - candidate.logit) / bucket_width;
    return static_cast<size_t>(std::min(bucket, static_cast<double>(kBuckets - 1)));
  };
  std::array<TokenWeight, kBuckets> sums{};
  for (const auto& candidate : candidates_) sums[bucket_of(candidate)] += token_weight(candidate.exponential);
  size_t last = 0;
  for (TokenWeight reached = sums[0]; reached < weight && last + 1 < kBuckets;) reached += sums[++last];
  std::erase_if(candidates_, [&](const Candidate& candidate) { return bucket_of(candidate) > last; });
}

void Sampler::keep_top_p(float top_p, TokenWeight total, size_t vocabulary) {
  const double negligible = kernels::negligible_weight(top_p, total, static_cast<uint32_t>(vocabulary));
  const auto weight_of = [](const Candidate& one) { return token_weight(one.exponential); };
  std::erase_if(candidates_,
                [&](const Candidate& one) { return static_cast<double>(weight_of(one)) < negligible; });
  std::ranges::sort(candidates_, Likelier());
  const TokenWeight wanted = kernels::nucleus_weight(top_p, total);
  TokenWeight reached = 0;
  size_t kept = 0;
  while (kept < candidates_.size() && reached < wanted) reached += weight_of(candidates_[kept++]);
  candidates_.erase(candidates_.begin() + static_cast<ptrdiff_t>(kept), candidates_.end());
}

std::span<const RankedToken> Sampler::logprobs(const LogitsRow& given, TokenId chosen, uint8_t alternatives) {
  const auto row = look_at(given);
  CHECK(row.has_value());
  const auto logits = row->logits;
  const double log_total = log_of_total(total_weight(*row, 1.0f), row->best);
  candidates_.clear();
  if (alternatives > 0) {
    const size_t found = kernels_.collect(logits.data(), logits.size(), row->largest.data(),
                                          nth_largest_chunk(*row, alternatives), indices_.data());
    for (size_t i = 0; i < found; ++i) candidates_.push_back({indices_[i], logits[indices_[i]], 0});
    const auto end = candidates_.begin() + std::min<ptrdiff_t>(alternatives, std::ssize(candidates_));
    std::partial_sort(candidates_.begin(), end, candidates_.end(), Likelier());
    candidates_.erase(end, candidates_.end());
  }
  ranked_.clear();
  ranked_.push_back({chosen, logprob_of(logits[chosen], log_total)});
  for (const auto& candidate : candidates_)
    ranked_.push_back({candidate.token, logprob_of(candidate.logit, log_total)});
  return ranked_;
}

}  // namespace deepserve::runner
