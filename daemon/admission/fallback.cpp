#include "daemon/admission/fallback.h"

#include <utility>

#include "ipc/base/check.h"

namespace deepserve::daemon {

Fallbacks::Fallbacks(std::vector<OfModel> of_models)
    : of_models_(std::move(of_models)), breakers_(of_models_.size()) {}

void Fallbacks::reconfigure(std::vector<OfModel> of_models) {
  CHECK(of_models.size() >= of_models_.size());
  of_models_ = std::move(of_models);
  breakers_.resize(of_models_.size());
}

FallbackChoice Fallbacks::choose(uint32_t model, const std::vector<bool>& may_serve, uint64_t now_ns) {
  const auto passage = [&](uint32_t of) {
    return may_serve.at(of) ? breakers_.at(of).ask(now_ns) : Breaker::Passage::kBlocked;
  };
  if (const auto own = passage(model); own != Breaker::Passage::kBlocked) {
    return {FallbackKind::kItself, model, own == Breaker::Passage::kIsProbe, 0};
  }
  for (const uint32_t other : of_models_.at(model).models) {
    const auto passes = passage(other);
    if (passes == Breaker::Passage::kBlocked) continue;
    return {FallbackKind::kModel, other, passes == Breaker::Passage::kIsProbe, 0};
  }
  if (of_models_.at(model).has_reply) return {FallbackKind::kReply, 0, false, 0};
  return {FallbackKind::kNobody, 0, false, breakers_.at(model).passes_in_ms(now_ns)};
}

std::optional<uint32_t> Fallbacks::substitute(uint32_t model, const std::vector<bool>& may_serve,
                                              uint64_t now_ns) {
  for (const uint32_t other : of_models_.at(model).models) {
    if (may_serve.at(other) && breakers_.at(other).state(now_ns) == BreakerState::kClosed) return other;
  }
  return std::nullopt;
}

void Fallbacks::ended(uint32_t model, bool was_probe, Verdict verdict, uint64_t now_ns) {
  Breaker& breaker = breakers_.at(model);
  switch (verdict) {
    case Verdict::kSucceeded:
      return breaker.succeeded(was_probe, now_ns);
    case Verdict::kFailed:
      return breaker.failed(was_probe, now_ns);
    case Verdict::kNone:
      if (was_probe) breaker.probe_lost(now_ns);
  }
}

}  // namespace deepserve::daemon
