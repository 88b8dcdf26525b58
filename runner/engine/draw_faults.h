// Why no token can be drawn from a row, as errors of its request.
#pragma once

#include "ipc/base/result.h"

namespace deepserve::runner {

inline tl::unexpected<Error> not_a_logit(float value, size_t token) {
  return fail(Code::kNumericFault, "the model computed {} as the logit of token {}", value, token);
}
inline tl::unexpected<Error> all_logits_are_zero() {
  return fail(Code::kNumericFault, "the model gave every token a logit of -infinity");
}
inline tl::unexpected<Error> nothing_left_to_choose() {
  return fail(Code::kInvalidRequest, "penalties, logit_bias and constraint leave no token to choose");
}

}  // namespace deepserve::runner
