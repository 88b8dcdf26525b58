#include "daemon/rollout/shadow_tally.h"

#include <fmt/format.h>

#include <algorithm>

namespace deepserve::daemon {
namespace {

double percent(uint64_t part, uint64_t whole) {
  return whole == 0 ? 100 : 100 * static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

void ShadowTally::compare(const AnswerTokens& original, const AnswerTokens& copy) {
  ++answers_;
  if (original == copy) ++equal_;
  for (size_t i = 0; i < original.size(); ++i) {
    const auto& told = original[i];
    tokens_ += told.size();
    if (i >= copy.size()) continue;
    const auto differ = std::mismatch(told.begin(), told.end(), copy[i].begin(), copy[i].end()).first;
    agreed_ += static_cast<uint64_t>(differ - told.begin());
  }
}

std::string ShadowTally::evidence() const {
  if (answers_ == 0) return fmt::format("no answers yet; {} failed, {} skipped", failed_, skipped_);
  return fmt::format(
      "of {} answers {} equal ({:.1f} %), {:.1f} % of their tokens before they differ; {} failed, {} skipped",
      answers_, equal_, percent(equal_, answers_), percent(agreed_, tokens_), failed_, skipped_);
}

}  // namespace deepserve::daemon
