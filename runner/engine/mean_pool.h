// The embedding of a prompt: the mean of its tokens' hidden states, brought to length 1.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::runner {

// Sums in double, token by token in their order: the result is the same to the last bit however the prompt
// was cut into chunks.
class MeanPool {
 public:
  // `rows`: [tokens, width], the hidden states of the tokens from `position` on. 0 begins anew: the prompt is
  // computed again. Otherwise the rows follow on those before.
  void add(uint32_t position, std::span<const float> rows, uint32_t width);

  // [width]. kNumericFault when a hidden state is no number or all of them cancel out.
  Result<std::vector<float>> embedding() const;

 private:
  std::vector<double> sums_;  // [width]
  uint32_t tokens_ = 0;
};

}  // namespace deepserve::runner
