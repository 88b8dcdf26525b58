#include "ctl/bench/retry_rule.h"

#include <algorithm>

#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {

Result<Retries> retries_named(std::string_view name) {
  if (name == "obey") return Retries::kObey;
  if (name == "ignore") return Retries::kIgnore;
  if (name == "none") return Retries::kNone;
  return fail(Code::kUsage, "--retries: \"{}\" is none of obey, ignore, none", name);
}

std::optional<uint64_t> retry_wait_ns(Retries rule, unsigned refusals, unsigned tries_max,
                                      std::optional<uint64_t> retry_after_ms) {
  constexpr unsigned kDoublings_max = 6;
  constexpr uint64_t kDay_ms = 86'400'000;
  if (rule == Retries::kNone || refusals >= tries_max) return std::nullopt;
  if (rule == Retries::kIgnore) return kImpatience_ns << std::min(refusals - 1, kDoublings_max);
  if (!retry_after_ms || *retry_after_ms > kDay_ms) return std::nullopt;
  return *retry_after_ms * kMillisecond_ns;
}

}  // namespace deepserve::ctl::bench
