// How much of a long prompt is served to a client that agreed to less.
#include <algorithm>

#include "daemon/admission/admission.h"

namespace deepserve::daemon {
namespace {

constexpr uint32_t kLeastTokens = 64;  // a shorter prompt is not worth an answer
// Tokens are estimated, and a prompt that is a bit too long after all was cut for nothing.
constexpr double kMargin = 0.9;
constexpr int kRounds = 10;

}  // namespace

// Whether it would be admitted with so long a prompt, as far as its deadline goes; 0: with all of it.
bool Admission::is_in_time(const Arrived& event, uint32_t prompt_tokens, uint64_t now_ns) const {
  Arrived shorter = event;
  if (prompt_tokens != 0) {
    shorter.prompt_tokens = prompt_tokens;
    shorter.prefix = {};
  }
  auto request = make_request(shorter, now_ns);
  request.booked = desk_.look(claimant_of(request), event.ticket, now_ns).outcome == TicketOutcome::kOnTime;
  const auto predicted = predict(request, now_ns);
  const uint64_t left_ns = request.deadline_ns - std::min(request.deadline_ns, now_ns);
  if (!predicted || request.booked) return true;
  // It is asked again when it is dispatched (admission_dispatch.cpp), and would be cut for nothing.
  const bool is_vip = event.service_class == ipc::Class::kVip;
  const double start_s = is_vip ? 0 : kStartMargin * predicted->start_s;
  return std::max(predicted->to_admit_by_s(), start_s) <= static_cast<double>(left_ns) * 1e-9;
}

double Admission::prompt_part(const Arrived& event, uint64_t now_ns) const {
  now_ns = clock_.at(now_ns);
  const auto& model = models_[event.model];
  const uint32_t whole =
      event.prompt_tokens != 0 ? event.prompt_tokens : model.ratio.tokens(event.prompt_bytes);
  uint32_t tokens = whole;
  if (const uint32_t context = model.time.context_tokens(); context != 0 && whole >= context) {
    const uint32_t answer = std::min(event.tokens_max, context / 4);
    tokens = static_cast<uint32_t>(kMargin * (context - answer));
  }
  const bool is_vip = event.service_class == ipc::Class::kVip;
  if (ladder_.level() >= BrownoutLevel::kTruncate && !is_vip) {
    tokens = std::min(tokens, BrownoutLadder::kPromptTokensMax);
  }
  tokens = std::max(tokens, std::min(whole, kLeastTokens));
  const uint32_t asked = tokens == whole ? 0 : tokens;
  if (!is_in_time(event, asked, now_ns) && tokens > kLeastTokens && is_in_time(event, kLeastTokens, now_ns)) {
    uint32_t too_many = tokens;
    tokens = kLeastTokens;
    for (int i = 0; i < kRounds; ++i) {
      const uint32_t middle = tokens + (too_many - tokens) / 2;
      (is_in_time(event, middle, now_ns) ? tokens : too_many) = middle;
    }
    tokens = std::max(kLeastTokens, static_cast<uint32_t>(kMargin * tokens));
  }
  return tokens >= whole ? 1.0 : static_cast<double>(tokens) / whole;
}

}  // namespace deepserve::daemon
