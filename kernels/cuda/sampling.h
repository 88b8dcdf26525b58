// Draws tokens from rows of logits that stay on the GPU: the rule of runner/engine/sampler.h, to the bit, and
// what log probabilities are told from.
//
// A row goes through outline_rows(kRaw), where any row is adjusted also patch_rows() and
// outline_rows(kAdjusted), then draw_tokens(). Rows that the second and third have nothing to do with cost
// them a launch's time, so they may stand in a captured graph; how many rows there are is read on the device.
// A row is read once for its outline (its chunks' largest logits and sums of exponentials), then only where
// the outline says that candidates are. Penalties, biases and masks are patched into the row while it is
// drawn from; afterwards it is as it was.
//
// All pointers are device memory. Each function puts one kernel into `stream` and returns what came of that.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/token_weights.h"

namespace deepserve::kernels::cuda {

inline constexpr uint32_t kAlternativesMax = 20;
inline constexpr uint32_t kNoAlternatives = 0xffffffff;  // no log probabilities at all
inline constexpr uint32_t kNoBadToken = 0xffffffff;

struct TokenCount {
  uint32_t token;      // of the prompt or the answer; behind the vocabulary: left out
  uint32_t generated;  // how often the answer holds it
};
struct TokenBias {
  uint32_t token;
  float bias;
};

// What is to be drawn from one row.
struct SampledRow {
  uint32_t row = 0;    // of `logits`
  uint32_t index = 0;  // of the token within its choice
  uint64_t seed = 0;
  float temperature = 1;  // 0: the largest logit
  float top_p = 1;
  float min_p = 0;
  uint32_t top_k = 0;  // 0: off
  float presence_penalty = 0;
  float frequency_penalty = 0;
  float repetition_penalty = 1;
  uint32_t alternatives =
      kNoAlternatives;      // how many of the most likely tokens are told; up to kAlternativesMax
  uint32_t first_draw = 0;  // of `choices` and `tokens`
  uint32_t draws = 1;
  const TokenCount* counts = nullptr;  // each token once
  uint32_t counts_size = 0;
  uint32_t biases_size = 0;
  const TokenBias* biases = nullptr;  // in the order of tokens; of equal ones in the order they are added
  const uint32_t* masked = nullptr;   // may not be drawn
  uint32_t masked_size = 0;
  // Where in `undone` there is room for its counts, biases and masked tokens.
  uint32_t first_undone = 0;
  const uint64_t* allowed = nullptr;  // a bit for each token that may be drawn; none: all
};

// What is found out about a row on the way. As it is made when a step begins.
struct RowState {
  uint32_t bad_token = kNoBadToken;  // the first whose logit is NaN or +infinity
  uint32_t alive = 0;                // some logit is above -infinity
  uint32_t overflowed = 0;           // an adjusted logit is NaN or +infinity
};

enum class RowFault : uint32_t {
  kNone,
  kNotALogit,    // bad_token
  kAllZero,      // every logit is -infinity
  kNothingLeft,  // penalties, biases and masks leave no token
};

struct RankedLogit {
  uint32_t token;
  float logit;  // raw
};

// What came of a row; of a row at fault the rest says nothing, and neither do its tokens.
struct DrawnRow {
  RowFault fault;
  uint32_t bad_token;
  float bad_logit;
  float best;         // the largest raw logit; this and the rest only where alternatives are asked for
  TokenWeight total;  // of the raw logits at temperature 1
  uint32_t alternatives_size;                  // at most the vocabulary
  RankedLogit alternatives[kAlternativesMax];  // the best first
};

struct SamplingArguments {
  float* logits = nullptr;  // [.., vocabulary]
  uint32_t vocabulary = 0;  // at most kWeighedTokensMax
  uint32_t rows_max = 0;
  const SampledRow* rows = nullptr;     // [*row_count]
  const uint32_t* row_count = nullptr;  // at most rows_max
  const uint16_t* choices = nullptr;    // [draws]
  RowState* states = nullptr;           // [rows]
  float* undone = nullptr;              // [patches]
  // Outlines for drawing and for log probabilities, each [rows_max, chunks]; need no values.
  float* largest = nullptr;
  float* sums = nullptr;
  float* raw_largest = nullptr;
  float* raw_sums = nullptr;
  DrawnRow* drawn = nullptr;      // [rows]
  RankedLogit* tokens = nullptr;  // [draws]; the logit only where alternatives are asked for
};

enum class OutlineOf { kRaw, kAdjusted };
cudaError_t outline_rows(const SamplingArguments& arguments, OutlineOf what, cudaStream_t stream);
cudaError_t patch_rows(const SamplingArguments& arguments, cudaStream_t stream);
cudaError_t draw_tokens(const SamplingArguments& arguments, cudaStream_t stream);

}  // namespace deepserve::kernels::cuda
