#include "ctl/bench/outcome.h"

#include <algorithm>

namespace deepserve::ctl::bench {
namespace {

uint64_t passed_ns(uint64_t from_ns, uint64_t to_ns) {
  return to_ns > from_ns ? to_ns - from_ns : 0;
}

}  // namespace

std::string_view end_name(End end) {
  constexpr std::string_view kNames[] = {"full", "degraded", "refused", "failed", "unsent", "unfinished"};
  static_assert(std::size(kNames) == static_cast<size_t>(End::kCount));
  return kNames[static_cast<size_t>(end)];
}

// An answer without any text shows itself at its end.
uint64_t ttft_ns(const Try& one) {
  return passed_ns(one.intended_ns, one.first_token_ns != 0 ? one.first_token_ns : one.end_ns);
}

uint64_t tpot_ns(const Try& one) {
  const uint32_t tokens = std::max(one.completion_tokens, one.text_events);
  return tokens < 2 ? 0 : passed_ns(one.first_token_ns, one.last_token_ns) / (tokens - 1);
}

uint64_t e2e_ns(const Try& one) {
  return passed_ns(one.intended_ns, one.end_ns);
}

}  // namespace deepserve::ctl::bench
