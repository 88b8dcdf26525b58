#include "daemon/admission/admission_action.h"

#include <array>

namespace deepserve::daemon {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(RefusalReason::kCount)> kReasons = {
    "queue_full",    "deadline",     "horizon",  "client_requests",
    "client_tokens", "retry_budget", "brownout", "breaker_open"};
constexpr std::array<std::string_view, static_cast<size_t>(BrownoutLevel::kCount)> kLevels = {
    "none", "pause_batch", "cap_tokens", "vip_only"};
static_assert(!kReasons.back().empty() && !kLevels.back().empty());

}  // namespace

std::string_view refusal_reason_name(RefusalReason value) {
  return kReasons.at(static_cast<size_t>(value));
}

std::string_view brownout_level_name(BrownoutLevel value) {
  return kLevels.at(static_cast<size_t>(value));
}

}  // namespace deepserve::daemon
