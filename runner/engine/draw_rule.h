// What the next token of a sequence is drawn by, as its request and its answer so far say.
#pragma once

#include <utility>
#include <vector>

#include "runner/engine/sampler.h"
#include "runner/engine/sequence.h"

namespace deepserve::runner {

class DrawRule {
 public:
  // `end_tokens`: all of the model's that end a generation.
  explicit DrawRule(std::vector<TokenId> end_tokens) : end_tokens_(std::move(end_tokens)) {}

  // The draw of the token that comes `ahead` tokens after the next one; with any ahead `sequence` may have
  // neither penalties nor a constraint. Borrowed from the sequence, its request and this; `allowed` until any
  // sequence is asked again. An error is the request's.
  Result<Draw> draw_of(Sequence& sequence, uint32_t ahead = 0) const;

 private:
  std::vector<TokenId> end_tokens_;  // for tokens_min
};

}  // namespace deepserve::runner
