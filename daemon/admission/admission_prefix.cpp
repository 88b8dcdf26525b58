// Which runner knows the beginning of a prompt, and what that spares.
#include <algorithm>
#include <cmath>

#include "daemon/admission/admission.h"

namespace deepserve::daemon {

double Admission::cached_part(const Request& request, uint32_t runner) const {
  if (request.prefix.pieces.empty()) return 0;
  return std::min(1.0, request.prefix.part(prefixes_[runner].known(request.prefix.pieces)));
}

// A runner computes the last token of a prompt in any case.
uint32_t Admission::uncached_tokens(const Request& request, uint32_t runner, double part) const {
  const double left = 1 - part * prefixes_[runner].trust();
  const auto tokens = static_cast<uint32_t>(std::ceil(left * request.load.prompt_tokens));
  return std::clamp(tokens, 1u, request.load.prompt_tokens);
}

// At the runner of its model that knows most of it.
uint32_t Admission::least_uncached_tokens(const Request& request) const {
  uint32_t least = request.load.prompt_tokens;
  if (request.prefix.pieces.empty()) return least;
  for (uint32_t i = 0; i < runners_.size(); ++i) {
    if (!runners_[i].is_up() || runners_[i].model() != request.model) continue;
    least = std::min(least, uncached_tokens(request, i, cached_part(request, i)));
  }
  return least;
}

void Admission::learn_prefix(const Request& request, const Accepted& event) {
  if (!request.runner || request.cached_part <= 0 || event.prompt_tokens == 0) return;
  const double actual = static_cast<double>(event.cached_tokens) / event.prompt_tokens;
  prefixes_[*request.runner].heard(request.cached_part, std::min(1.0, actual));
}

}  // namespace deepserve::daemon
