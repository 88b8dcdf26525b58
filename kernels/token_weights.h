// The weights of tokens as a draw adds them up: integers, so that a sum is the same in every order, on every
// CPU and GPU. The most likely token of a row has kWeightUnit; kWeighedTokensMax of them fit into 64 bits.
//
// A token's weight is its exponential (exponential.h, with the row's largest logit as offset) in these units,
// rounded down: what that takes from all tokens of a vocabulary of 2^18 together is less than 2^-24 of the
// largest one's.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/shared_code.h"

namespace deepserve::kernels {

using TokenWeight = uint64_t;
inline constexpr double kWeightUnit = 0x1p42;
inline constexpr uint32_t kWeighedTokensMax = 1 << 22;

// Of a token, or of a part of the row (`sum` beside its own largest logit, whose exponential is `factor`).
// Both have 24 bits, so their product is exact.
DEEPSERVE_SHARED_CODE inline TokenWeight token_weight(float sum, float factor = 1.0f) {
  const double weight = static_cast<double>(sum) * static_cast<double>(factor);
  return static_cast<TokenWeight>(static_cast<int64_t>(weight * kWeightUnit));
}

// What logits are multiplied with.
DEEPSERVE_SHARED_CODE inline float scale_of(float temperature) {
  constexpr float kFloatMax = 0x1.fffffep127f;
  const float scale = 1.0f / temperature;
  return scale < kFloatMax ? scale : kFloatMax;
}

// Where in [0, total) `bits` (philox.h) point to: the token is drawn with which the weights so far pass it.
DEEPSERVE_SHARED_CODE inline TokenWeight drawn_point(TokenWeight total, uint64_t bits) {
#ifdef __CUDACC__
  return __umul64hi(total, bits << 11);
#else
  return static_cast<TokenWeight>(static_cast<unsigned __int128>(total) * bits >> 53);
#endif
}

// What the weights of the nucleus reach, top_p below 1.
DEEPSERVE_SHARED_CODE inline TokenWeight nucleus_weight(float top_p, TokenWeight total) {
  return static_cast<TokenWeight>(
      static_cast<int64_t>(ceil(static_cast<double>(top_p) * static_cast<double>(total))));
}

// All that are less likely than this add up to less than the rest that top_p leaves: a nucleus never needs
// them.
DEEPSERVE_SHARED_CODE inline double negligible_weight(float top_p, TokenWeight total, uint32_t vocabulary) {
  const double rest = 1.0 - static_cast<double>(top_p);
  return static_cast<double>(total) * rest / static_cast<double>(vocabulary);
}

}  // namespace deepserve::kernels
