// The tokens of a row that are still in question while a block of threads draws from it.
//
// They are collected from a threshold on, by the chunks whose largest logit says that they hold some. Up to
// kListed of them are kept in shared memory; more are looked up in the row again each time, which is slow,
// and happens where thousands of tokens are about as likely.
#pragma once

#include "kernels/cuda/logit.cuh"
#include "kernels/cuda/tally.cuh"

namespace deepserve::kernels::cuda {

inline constexpr unsigned kDrawThreads = 256;
inline constexpr unsigned kListed = 2048;

using DrawTally = BlockTally<kDrawThreads>;

// Shared memory.
struct CandidateList {
  uint64_t ordinals[kListed];
  float exponentials[kListed];
  uint32_t size;
};

// The row as it is looked at.
struct RowView {
  const float* logits;
  const float* largest;  // [chunks]
  uint32_t vocabulary;
  const SampledRow* masks;  // whose `allowed` counts; none: all tokens do
  bool weighted;            // only tokens with an exponential are in question; otherwise all are alike
  float best;
  float temperature;  // above 0
};

class Candidates {
 public:
  __device__ Candidates(const RowView& row, DrawTally& block, CandidateList& list)
      : row_(row), scale_(scale_of(row.temperature)), block_(block), list_(list) {
    while ((1u << id_bits_) < row.vocabulary) ++id_bits_;
  }

  // Those with a logit below `logit_min` are not in question; nor, from now on, those that come behind
  // `ordinal`, have a smaller exponential, or weigh less.
  __device__ void keep_first(uint64_t ordinal) { last_ = ordinal; }
  __device__ void keep_likely(float exponential_min) { exponential_min_ = exponential_min; }
  __device__ void keep_heavy(double weight_min) { weight_min_ = weight_min; }

  // Looks for them in ever more of the row until `enough` of what was found, or until all of it is seen.
  template <typename Enough>
  __device__ Tally collect(const Enough& enough) {
    for (float exponent = -4;; exponent *= 1.5f) {
      const bool all = exponent < -25;
      least_ = all ? 0 : order_of(row_.best + exponent * row_.temperature);
      const Tally found = collect_from_least();
      if (all || enough(found)) return found;
    }
  }
  __device__ void collect_all() {
    least_ = 0;
    collect_from_least();
  }
  __device__ Tally tally() {
    Tally mine;
    for_each([&](uint64_t, TokenWeight weight) { mine.add(weight); });
    return block_.sum(mine);
  }

  // The first that together have `wanted` of all, which they are as tally() counts them; in the order of
  // likelihood.
  __device__ uint64_t first_of_count(const Tally& all, uint32_t wanted) {
    const auto each = [this](const auto& f) { for_each(f); };
    return select_first<false>(block_, each, low(), high(), all, wanted).ordinal;
  }
  __device__ uint64_t first_of_weight(const Tally& all, TokenWeight wanted) {
    const auto each = [this](const auto& f) { for_each(f); };
    return select_first<true>(block_, each, low(), high(), all, wanted).ordinal;
  }
  // In the order of ids.
  __device__ uint32_t first_id_of_weight(const Tally& all, TokenWeight wanted) {
    const auto by_id = [this](const auto& f) {
      for_each([&](uint64_t ordinal, TokenWeight weight) { f(ordinal & last_id(), weight); });
    };
    return token_of(select_first<true>(block_, by_id, 0, last_id() + 1, all, wanted).ordinal);
  }

  template <typename F>
  __device__ void for_each(const F& f) const {
    if (!listed_)
      return scan([&](uint64_t ordinal, float exponential) { f(ordinal, token_weight(exponential)); });
    for (uint32_t i = threadIdx.x; i < found_; i += kDrawThreads) {
      const uint64_t ordinal = list_.ordinals[i];
      const float exponential = list_.exponentials[i];
      if (passes(ordinal, exponential)) f(ordinal, token_weight(exponential));
    }
  }
  __device__ uint32_t token_of(uint64_t ordinal) const {
    return static_cast<uint32_t>(last_id() - (ordinal & last_id()));
  }
  __device__ float logit_of_ordinal(uint64_t ordinal) const {
    return logit_of(static_cast<uint32_t>(ordinal >> id_bits_));
  }

 private:
  __device__ uint64_t last_id() const { return (uint64_t{1} << id_bits_) - 1; }
  __device__ uint64_t low() const {
    const uint64_t least = static_cast<uint64_t>(least_) << id_bits_;
    return least > last_ ? least : last_;
  }
  __device__ uint64_t high() const { return (static_cast<uint64_t>(order_of(row_.best)) + 1) << id_bits_; }
  __device__ bool passes(uint64_t ordinal, float exponential) const {
    return ordinal >= last_ && exponential >= exponential_min_ &&
           static_cast<double>(token_weight(exponential)) >= weight_min_;
  }

  // Whether a chunk can hold any. Exponentials are not larger for smaller logits, but for rounding.
  __device__ bool may_hold(float largest) const {
    if (order_of(largest) < least_) return false;
    if (!row_.weighted) return true;
    return weight_beside(largest, row_.best, scale_) > exponential_min_ * (1 - 0x1p-12f);
  }

  // f(ordinal, exponential) for this thread's; a warp takes a chunk.
  template <typename F>
  __device__ void scan(const F& f) const {
    const uint32_t chunks = chunks_of(row_.vocabulary);
    for (uint32_t chunk = threadIdx.x / 32; chunk < chunks; chunk += DrawTally::kWarps) {
      if (!may_hold(row_.largest[chunk])) continue;
      const uint32_t begin = chunk * kChunk;
      const uint32_t end = begin + kChunk < row_.vocabulary ? begin + kChunk : row_.vocabulary;
      for (uint32_t token = begin + lane_index(); token < end; token += 32) look_at(token, f);
    }
  }
  template <typename F>
  __device__ void look_at(uint32_t token, const F& f) const {
    const float logit = row_.logits[token];
    const uint32_t order = order_of(logit);
    if (order < least_ || (row_.masks != nullptr && !is_allowed(*row_.masks, token))) return;
    const float exponential = row_.weighted ? weight_beside(logit, row_.best, scale_) : 1.0f;
    if (!(exponential > 0)) return;
    const uint64_t ordinal = static_cast<uint64_t>(order) << id_bits_ | (last_id() - token);
    if (passes(ordinal, exponential)) f(ordinal, exponential);
  }

  __device__ Tally collect_from_least() {
    if (threadIdx.x == 0) list_.size = 0;
    __syncthreads();
    Tally mine;
    scan([&](uint64_t ordinal, float exponential) {
      mine.add(token_weight(exponential));
      const uint32_t place = take_places(&list_.size, 1);
      if (place >= kListed) return;
      list_.ordinals[place] = ordinal;
      list_.exponentials[place] = exponential;
    });
    const Tally found = block_.sum(mine);
    found_ = found.count;
    listed_ = found_ <= kListed;
    return found;
  }

  RowView row_;
  float scale_;
  DrawTally& block_;
  CandidateList& list_;
  uint32_t id_bits_ = 0;
  uint32_t least_ = 0;  // the order of the least logit that is in question
  uint64_t last_ = 0;
  float exponential_min_ = 0;
  double weight_min_ = 0;
  uint32_t found_ = 0;
  bool listed_ = true;
};

}  // namespace deepserve::kernels::cuda
