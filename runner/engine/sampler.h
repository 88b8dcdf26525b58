// Chooses the next token from one row of logits.
//
// The order of operations, the same for every request:
//   1. logprobs, when asked for, are the log-softmax of the raw logits: nothing below changes them;
//   2. repetition penalty (Keskar et al. 2019, arXiv:1909.05858) over prompt and answer: a positive logit is
//      divided by it, a negative one multiplied; then frequency and presence penalty (OpenAI's API reference)
//      over the answer;
//   3. logit_bias is added;
//   4. masked tokens (the end tokens before tokens_min) and those that the answer's constraint does not allow
//      get -infinity;
//   5. temperature 0 ends here: the largest logit, of equal ones the lowest id;
//   6. temperature divides; 7. top-k keeps the k largest; 8. top-p (Holtzman et al. 2019, arXiv:1904.09751)
//      the fewest most likely ones whose probability reaches p; 9. min-p (Nguyen et al. 2024,
//      arXiv:2407.01082) those with at least min_p times the probability of the most likely one;
//  10. one draw of the counter-based generator at (seed, choice, index) chooses among the rest (philox.h).
// Equal logits are ordered by id everywhere; the rest is gone through in the order of likelihood where top-k
// or top-p took something away, of ids otherwise. Weights are integers (kernels/token_weights.h), whose sums
// are those of any order; sums over the vocabulary are those that kernels/cpu/logits.h writes down: the same
// row gives the same token on every run, with every instruction set, and on a GPU (kernels/cuda/sampling.h).
//
// A row's outline (kernels/cpu/logits.h) says which of its chunks can hold what is looked for: only these are
// read. Where the row comes without its outline, or without the sums that a draw from all of the vocabulary
// needs, these are found first. Nothing is sorted but the candidates that are left.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "ipc/base/result.h"
#include "ipc/wire/messages.h"
#include "kernels/token_weights.h"
#include "runner/engine/logits_rows.h"
#include "runner/engine/token_counts.h"

namespace deepserve::runner {

// What is to be drawn. Everything is borrowed for the call.
struct Draw {
  const ipc::Generation& generation;
  const TokenCounts& counts;
  uint16_t choice = 0;
  uint32_t index = 0;                   // of the token within the choice
  std::span<const TokenId> masked;      // tokens that may not be chosen
  std::span<const TokenId> masked_too;  // and more of them
  // A bit for each token that may be chosen, token 0 the lowest of the first word: [ceil(vocabulary / 64)];
  // empty: all may.
  std::span<const uint64_t> allowed;
};

struct RankedToken {
  TokenId token = 0;
  float logprob = 0;
};

// Holds scratch memory only: one per thread, used for any number of requests in turn.
class Sampler {
 public:
  Sampler() : Sampler(*kernels::find_logits_kernels("")) {}
  // Every table gives the same; `kernels` must outlive the sampler.
  explicit Sampler(const kernels::LogitsKernels& kernels) : kernels_(kernels) {}

  // The scale of the sums that make sample() and logprobs() fast for such requests; 0: they need none.
  static float sums_scale(const ipc::Generation& generation);

  // `row`: raw logits; written to while the call lasts, and as they were when it returns.
  // kNumericFault as check() has it; kInvalidRequest: bias, penalties and masks leave no token to choose.
  Result<TokenId> sample(const LogitsRow& row, const Draw& draw);

  // [0] is `chosen`, then the `alternatives` most likely ones, the best first. Borrowed until the next call.
  // `row` must pass check().
  std::span<const RankedToken> logprobs(const LogitsRow& row, TokenId chosen, uint8_t alternatives);

  // kNumericFault, naming the first token at fault: a NaN or +infinity among the logits, or nothing above
  // -infinity.
  Result<void> check(const LogitsRow& row);

 private:
  // A row that is looked at. Its chunks' largest are right; of its sums those of changed_ chunks are not.
  struct Row {
    std::span<const float> logits;
    std::span<const float> largest;  // [chunks]
    float best;                      // of them
    std::span<const float> sums;     // [chunks], at sums_scale; 0: there are none
    float sums_scale;
  };
  struct Candidate {
    TokenId token;
    float logit;
    float exponential;  // its weight beside the most likely one's
  };

  Result<Row> look_at(const LogitsRow& given);
  Result<Row> adjust(const LogitsRow& given, const Row& raw, const Draw& draw);
  void patch(std::span<float> logits, TokenId token, float value);
  bool patch_all(std::span<float> logits, const Draw& draw);
  void restore(std::span<float> logits);
  bool find_best(std::span<const float> largest, float& best);

  TokenId pick(const Row& row, const Draw& draw);
  static TokenId pick_largest(const Row& row);
  TokenId pick_of_all(const Row& row, float temperature, uint64_t bits);
  TokenId pick_of_candidates(uint64_t bits) const;
  kernels::TokenWeight candidates_weight() const;
  void collect(const Row& row, float temperature, float threshold);
  void collect_top_k(const Row& row, const ipc::Generation& generation);
  void collect_top_p(const Row& row, const ipc::Generation& generation);
  void keep_top_p(float top_p, kernels::TokenWeight total, size_t vocabulary);
  void keep_likeliest(kernels::TokenWeight weight, double bucket_width, float largest);
  kernels::TokenWeight total_weight(const Row& row, float scale);
  std::span<const float> sums_of(const Row& row, float scale);
  float nth_largest_chunk(const Row& row, size_t n);

  const kernels::LogitsKernels& kernels_;
  std::vector<float> largest_;                   // [chunks] of a row that came without or was changed
  std::vector<float> sums_;                      // [chunks], the same
  std::vector<float> factors_;                   // [chunks]: of its largest logit, beside the best one
  std::vector<kernels::TokenWeight> weights_;    // [chunks]: sum times factor
  std::vector<float> exponentials_;              // [candidates]
  std::vector<float> order_;                     // [chunks]
  std::vector<uint32_t> indices_;                // [vocabulary + 16]
  std::vector<float> masked_;                    // [vocabulary]
  std::vector<uint8_t> changed_;                 // [chunks]: what is no longer right; empty: nothing changed
  std::vector<std::pair<TokenId, float>> undo_;  // what the row held before it was patched, the last last
  std::vector<Candidate> candidates_;
  std::vector<RankedToken> ranked_;
};

}  // namespace deepserve::runner
