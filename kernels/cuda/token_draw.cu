// Draws the tokens of a row, one block for each row, and finds out what log probabilities are told from.
#include "kernels/cuda/candidates.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sampling.h"
#include "kernels/philox.h"

namespace deepserve::kernels::cuda {
namespace {

static_assert(kDrawThreads == kChunk, "a chunk's tokens are looked at at once");

// All threads of a block have the same.
class RowDraw {
 public:
  __device__ RowDraw(const SamplingArguments& arguments, DrawTally& block, CandidateList& list)
      : arguments_(arguments),
        row_(arguments.rows[blockIdx.x]),
        logits_(arguments.logits + size_t{row_.row} * arguments.vocabulary),
        chunks_(chunks_of(arguments.vocabulary)),
        largest_(arguments.largest + size_t{blockIdx.x} * chunks_),
        scale_(scale_of(row_.temperature)),
        block_(block),
        list_(list) {}

  __device__ void run() {
    DrawnRow& drawn = arguments_.drawn[blockIdx.x];
    best_ = largest_logit(largest_);
    const RowFault fault = find_fault();
    if (fault == RowFault::kNone) draw();
    restore();
    const uint32_t bad_token = arguments_.states[blockIdx.x].bad_token;
    if (threadIdx.x == 0) {
      drawn.fault = fault;
      drawn.bad_token = bad_token;
      drawn.bad_logit = fault == RowFault::kNotALogit ? logits_[bad_token] : 0.0f;
    }
    if (fault == RowFault::kNone && row_.alternatives != kNoAlternatives) tell_logprobs(drawn);
  }

 private:
  __device__ float largest_logit(const float* largest) {
    uint32_t mine = 0;
    for (uint32_t chunk = threadIdx.x; chunk < chunks_; chunk += kDrawThreads) {
      const uint32_t order = order_of(largest[chunk]);
      mine = mine < order ? order : mine;
    }
    return logit_of(block_.largest(mine));
  }

  __device__ RowFault find_fault() const {
    const RowState& state = arguments_.states[blockIdx.x];
    if (state.bad_token != kNoBadToken) return RowFault::kNotALogit;
    if (state.alive == 0) return RowFault::kAllZero;
    if (state.overflowed != 0 || !(best_ > minus_infinity())) return RowFault::kNothingLeft;
    return RowFault::kNone;
  }

  __device__ void draw() {
    if (row_.temperature == 0) {
      const uint32_t token = first_largest();
      for (uint32_t i = threadIdx.x; i < row_.draws; i += kDrawThreads) put(i, token);
    } else if (needs_sums(row_, arguments_.vocabulary) && row_.top_p >= 1) {
      draw_of_all();
    } else {
      draw_of_candidates();
    }
  }
  __device__ void put(uint32_t draw, uint32_t token) const {
    arguments_.tokens[row_.first_draw + draw].token = token;
  }
  __device__ TokenWeight point(uint32_t draw, TokenWeight total) const {
    return drawn_point(total, draw_bits(row_.seed, arguments_.choices[row_.first_draw + draw], row_.index));
  }

  __device__ uint32_t first_largest() {
    const uint32_t order = order_of(best_);
    uint32_t chunk = chunks_;
    for (uint32_t i = threadIdx.x; i < chunks_ && chunk == chunks_; i += kDrawThreads) {
      if (order_of(largest_[i]) == order) chunk = i;
    }
    chunk = block_.smallest(chunk);
    const uint32_t token = chunk * kChunk + threadIdx.x;
    const bool is_largest =
        token < arguments_.vocabulary && is_allowed(row_, token) && order_of(logits_[token]) == order;
    return block_.smallest(is_largest ? token : arguments_.vocabulary);
  }

  __device__ auto each_chunk() const {
    return [this](const auto& f) {
      const float* sums = arguments_.sums + size_t{blockIdx.x} * chunks_;
      for (uint32_t chunk = threadIdx.x; chunk < chunks_; chunk += kDrawThreads) {
        f(uint64_t{chunks_ - 1 - chunk},
          token_weight(sums[chunk], weight_beside(largest_[chunk], best_, scale_)));
      }
    };
  }
  __device__ Tally chunks_tally() {
    Tally mine;
    each_chunk()([&](uint64_t, TokenWeight weight) { mine.add(weight); });
    return block_.sum(mine);
  }

  // First the chunk, then the token in it.
  __device__ void draw_of_all() {
    const Tally all = chunks_tally();
    for (uint32_t i = 0; i < row_.draws; ++i) {
      const TokenWeight drawn = point(i, all.weight);
      const Selection chosen = select_first<true>(block_, each_chunk(), 0, chunks_, all, drawn + 1);
      const uint32_t token =
          token_in_chunk(chunks_ - 1 - static_cast<uint32_t>(chosen.ordinal), drawn - chosen.before);
      if (threadIdx.x == 0) put(i, token);
    }
  }

  // Where the chunk ends before the point is passed, its last token with any exponential.
  __device__ uint32_t token_in_chunk(uint32_t chunk, TokenWeight drawn) {
    const uint32_t token = chunk * kChunk + threadIdx.x;
    const bool counts = token < arguments_.vocabulary && is_allowed(row_, token);
    const float exponential = counts ? weight_beside(logits_[token], largest_[chunk], scale_) : 0.0f;
    const TokenWeight weight = token_weight(exponential, weight_beside(largest_[chunk], best_, scale_));
    const auto for_each = [&](const auto& f) {
      if (exponential > 0) f(uint64_t{kChunk - 1 - threadIdx.x}, weight);
    };
    Tally mine;
    for_each([&](uint64_t, TokenWeight own) { mine.add(own); });
    const Tally all = block_.sum(mine);
    if (all.weight <= drawn) return block_.largest(exponential > 0 ? token : 0);
    const Selection chosen = select_first<true>(block_, for_each, 0, kChunk, all, drawn + 1);
    return chunk * kChunk + kChunk - 1 - static_cast<uint32_t>(chosen.ordinal);
  }

  __device__ void draw_of_candidates() {
    Candidates candidates({logits_, largest_, arguments_.vocabulary, &row_, true, best_, row_.temperature},
                          block_, list_);
    const bool by_id = keep_what_may_be_drawn(candidates);
    if (row_.min_p > 0) candidates.keep_likely(row_.min_p);
    const Tally all = candidates.tally();
    for (uint32_t i = 0; i < row_.draws; ++i) {
      const TokenWeight wanted = point(i, all.weight) + 1;
      const uint32_t token = by_id ? candidates.first_id_of_weight(all, wanted)
                                   : candidates.token_of(candidates.first_of_weight(all, wanted));
      if (threadIdx.x == 0) put(i, token);
    }
  }

  // Top-k, then top-p. Whether the rest is gone through in the order of ids.
  __device__ bool keep_what_may_be_drawn(Candidates& candidates) {
    if (has_top_k(row_, arguments_.vocabulary)) {
      const uint32_t k = row_.top_k;
      Tally all = candidates.collect([k](const Tally& found) { return found.count > k; });
      const bool too_many = all.count > k;
      if (too_many) candidates.keep_first(candidates.first_of_count(all, k));
      if (row_.top_p >= 1) return !too_many;
      if (too_many) all = candidates.tally();
      candidates.keep_heavy(negligible_weight(row_.top_p, all.weight, arguments_.vocabulary));
      keep_nucleus(candidates, candidates.tally(), nucleus_weight(row_.top_p, all.weight));
    } else if (row_.top_p < 1) {
      const TokenWeight total = chunks_tally().weight, wanted = nucleus_weight(row_.top_p, total);
      candidates.keep_heavy(negligible_weight(row_.top_p, total, arguments_.vocabulary));
      keep_nucleus(candidates,
                   candidates.collect([wanted](const Tally& found) { return found.weight >= wanted; }),
                   wanted);
    } else {
      candidates.keep_likely(row_.min_p);
      candidates.collect_all();
      return true;
    }
    return false;
  }
  __device__ void keep_nucleus(Candidates& candidates, const Tally& all, TokenWeight wanted) {
    if (all.weight >= wanted) candidates.keep_first(candidates.first_of_weight(all, wanted));
  }

  // Patches are taken back; the threads see what the others wrote.
  __device__ void restore() {
    const uint32_t patches = patches_of(row_);
    if (patches == 0) return;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < patches; i += kDrawThreads) {
      const uint32_t token = patched_token(row_, i);
      if (token < arguments_.vocabulary) logits_[token] = arguments_.undone[row_.first_undone + i];
    }
    __syncthreads();
  }

  __device__ void tell_logprobs(DrawnRow& drawn) {
    const float* largest = arguments_.raw_largest + size_t{blockIdx.x} * chunks_;
    const float* sums = arguments_.raw_sums + size_t{blockIdx.x} * chunks_;
    const float best = largest_logit(largest);
    Tally mine;
    for (uint32_t chunk = threadIdx.x; chunk < chunks_; chunk += kDrawThreads) {
      mine.add(token_weight(sums[chunk], weight_beside(largest[chunk], best, 1)));
    }
    const TokenWeight total = block_.sum(mine).weight;  // behind its barrier the drawn tokens are there
    for (uint32_t i = threadIdx.x; i < row_.draws; i += kDrawThreads) {
      RankedLogit& token = arguments_.tokens[row_.first_draw + i];
      token.logit = logits_[token.token];
    }
    const uint32_t vocabulary = arguments_.vocabulary;
    const uint32_t wanted = row_.alternatives < vocabulary ? row_.alternatives : vocabulary;
    if (threadIdx.x == 0) {
      drawn.best = best;
      drawn.total = total;
      drawn.alternatives_size = wanted;
    }
    if (wanted > 0) rank({logits_, largest, vocabulary, nullptr, false, best, 1}, wanted, drawn.alternatives);
  }

  __device__ void rank(const RowView& view, uint32_t wanted, RankedLogit* alternatives) {
    __shared__ uint64_t ordinals[kAlternativesMax];
    __shared__ uint32_t ranked;
    Candidates candidates(view, block_, list_);
    const Tally all = candidates.collect([wanted](const Tally& found) { return found.count >= wanted; });
    candidates.keep_first(candidates.first_of_count(all, wanted));
    if (threadIdx.x == 0) ranked = 0;
    __syncthreads();
    candidates.for_each([&](uint64_t ordinal, TokenWeight) { ordinals[take_places(&ranked, 1)] = ordinal; });
    __syncthreads();
    if (threadIdx.x >= wanted) return;
    const uint64_t ordinal = ordinals[threadIdx.x];
    uint32_t better = 0;
    for (uint32_t i = 0; i < wanted; ++i) better += ordinals[i] > ordinal;
    alternatives[better] = {candidates.token_of(ordinal), candidates.logit_of_ordinal(ordinal)};
  }

  const SamplingArguments& arguments_;
  const SampledRow& row_;
  float* logits_;
  uint32_t chunks_;
  const float* largest_;
  float scale_;
  DrawTally& block_;
  CandidateList& list_;
  float best_ = 0;  // of what may be drawn
};

__global__ void __launch_bounds__(kDrawThreads)
    draw_kernel(const __grid_constant__ SamplingArguments arguments) {
  __shared__ DrawTally::Scratch scratch;
  __shared__ CandidateList list;
  begin_in_turn();
  if (blockIdx.x >= *arguments.row_count) return;
  DrawTally block(scratch);
  RowDraw(arguments, block, list).run();
}

}  // namespace

cudaError_t draw_tokens(const SamplingArguments& arguments, cudaStream_t stream) {
  return launch_kernel({{arguments.rows_max, 1, 1}, {kDrawThreads, 1, 1}, 0, stream}, draw_kernel, arguments);
}

}  // namespace deepserve::kernels::cuda
