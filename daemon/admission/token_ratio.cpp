#include "daemon/admission/token_ratio.h"

#include <algorithm>
#include <cmath>

namespace deepserve::daemon {

void TokenRatio::add(uint64_t bytes, uint32_t tokens) {
  if (bytes == 0 || tokens == 0) return;
  bytes_ = kFading * bytes_ + static_cast<double>(bytes);
  tokens_ = kFading * tokens_ + static_cast<double>(tokens);
}

uint32_t TokenRatio::tokens(uint64_t bytes) const {
  const double tokens = std::ceil(static_cast<double>(bytes) * tokens_per_byte());
  return static_cast<uint32_t>(std::clamp(tokens, 1.0, 1e9));
}

}  // namespace deepserve::daemon
