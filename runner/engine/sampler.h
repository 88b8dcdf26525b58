// Chooses the next token from one row of logits.
//
// The order of operations, the same for every request:
//   1. logprobs, when asked for, are the log-softmax of the raw logits: nothing below changes them;
//   2. repetition penalty (Keskar et al. 2019, arXiv:1909.05858) over prompt and answer: a positive logit is
//   divided by
//      it, a negative one multiplied; then frequency and presence penalty (OpenAI's API reference) over the
//      answer;
//   3. logit_bias is added;
//   4. masked tokens (the end tokens before tokens_min) and those that the answer's constraint does not allow
//   get -infinity;
//   5. temperature 0 ends here: the largest logit, of equal ones the lowest id;
//   6. temperature divides; 7. top-k keeps the k largest; 8. top-p (Holtzman et al. 2019, arXiv:1904.09751)
//   the fewest
//      most likely ones whose probability reaches p; 9. min-p (Nguyen et al. 2024, arXiv:2407.01082) those
//      with at least min_p times the probability of the most likely one;
//  10. one draw of the counter-based generator at (seed, choice, index) chooses among the rest (philox.h).
// Equal logits are ordered by id everywhere, and sums are taken in that order in double: the same row gives
// the same token on every run.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ipc/base/result.h"
#include "ipc/wire/messages.h"
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

// kNumericFault, naming the first token at fault: a NaN or +infinity among the logits, or nothing above
// -infinity.
Result<void> check_logits(std::span<const float> logits);

// Holds scratch memory only: one per thread, used for any number of requests in turn.
class Sampler {
 public:
  // `logits`: [vocabulary], raw. kNumericFault as check_logits has it; kInvalidRequest: bias, penalties and
  // masks leave no token to choose.
  Result<TokenId> sample(std::span<const float> logits, const Draw& draw);

  // [0] is `chosen`, then the `alternatives` most likely ones, the best first.
  std::span<const RankedToken> logprobs(std::span<const float> logits, TokenId chosen, uint8_t alternatives);

 private:
  struct Candidate {
    TokenId token;
    float logit;
    double weight;
  };

  std::span<const float> adjust(std::span<const float> logits, const Draw& draw);
  void collect(std::span<const float> logits, float logit_max, const ipc::Generation& generation);
  void keep_top_k(uint32_t k);
  void keep_top_p(float top_p, size_t vocabulary);
  void keep_min_p(float min_p);

  std::vector<float> adjusted_;  // [vocabulary]
  std::vector<Candidate> candidates_;
  std::vector<RankedToken> ranked_;
};

}  // namespace deepserve::runner
