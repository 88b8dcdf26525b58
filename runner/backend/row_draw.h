// What a backend that draws by itself is told to draw from a row of logits, and what it tells instead of the
// logits. The rule is that of runner/engine/sampler.h, to the bit.
#pragma once

#include <cstdint>
#include <span>

#include "ipc/wire/messages.h"
#include "kernels/token_weights.h"

namespace deepserve::runner {

using ipc::TokenId;

inline constexpr uint32_t kAlternativesMax = 20;  // tokens that log probabilities are told of

struct TokenCount {
  TokenId token;
  uint32_t generated;  // how often the answer holds it; 0: only the prompt does
};

// One row, from which several choices may draw: they differ in nothing else. All is borrowed until the step
// was started.
struct RowDraw {
  const ipc::Generation* generation = nullptr;  // its logit_bias in the order of tokens
  uint32_t index = 0;                           // of the token within its choice
  std::span<const uint16_t> choices = {};       // one draw for each
  std::span<const TokenCount> counts = {};      // each token once; empty: there are no penalties
  std::span<const TokenId> masked = {};         // may not be drawn
  std::span<const TokenId> masked_too = {};
  // A bit for each token that may be drawn, [ceil(vocabulary / 64)]; empty: all may.
  std::span<const uint64_t> allowed = {};
};

enum class DrawFault : uint8_t {
  kNone,
  kNotALogit,    // NaN or +infinity
  kAllZero,      // every logit is -infinity
  kNothingLeft,  // penalties, logit_bias and masks leave no token
};

struct RankedLogit {
  TokenId token;
  float logit;  // raw
};

// Of a row at fault the rest says nothing, and neither do its tokens.
struct DrawnRow {
  DrawFault fault = DrawFault::kNone;
  TokenId bad_token = 0;  // kNotALogit: the first one
  float bad_logit = 0;
  // Where log probabilities are wanted (logprobs.h): the largest raw logit, the weight of all at temperature
  // 1, and the most likely tokens, as many as are wanted or there are, the best first.
  float best = 0;
  uint32_t alternatives_size = 0;
  kernels::TokenWeight total = 0;
  RankedLogit alternatives[kAlternativesMax] = {};
};

// A token that was drawn; its logit where log probabilities are wanted.
using DrawnToken = RankedLogit;

}  // namespace deepserve::runner
