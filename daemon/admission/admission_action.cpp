#include "daemon/admission/admission_action.h"

#include <array>

namespace deepserve::daemon {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(RefusalReason::kCount)> kReasons = {
    "queue_full",    "deadline",     "horizon",  "client_requests",
    "client_tokens", "retry_budget", "brownout", "breaker_open"};
static_assert(!kReasons.back().empty());

}  // namespace

std::string_view refusal_reason_name(RefusalReason value) {
  return kReasons.at(static_cast<size_t>(value));
}

}  // namespace deepserve::daemon
