#include "tests/sim/admission_policy.h"

#include "tests/sim/random.h"

namespace deepserve::sim {

daemon::AdmissionOptions AdmissionPolicy::options_of(const PolicyOptions& options) {
  daemon::AdmissionOptions result;
  result.runners = options.runners;
  result.ticket_epoch = options.seed;
  result.first_booking = mixed(options.seed) >> 1 | 1;
  for (size_t i = 0; i < result.ticket_key.size(); ++i) {
    result.ticket_key[i] = static_cast<uint8_t>(mixed(options.seed + i));
  }
  for (size_t i = 0; i < result.classes.size(); ++i) result.classes[i].deadline_ns = kDeadlines_ns[i];
  return result;
}

void AdmissionPolicy::step(const daemon::Arrived& event, uint64_t now_ns, Actions& actions) {
  const auto choice = fallbacks_.choose(0, {true}, now_ns);
  if (choice.kind == daemon::FallbackKind::kNobody) {
    daemon::Refuse refusal;
    refusal.request = event.request;
    refusal.reason = daemon::RefusalReason::kBreakerOpen;
    refusal.service_class = event.service_class;
    refusal.retry_after_ms = choice.retry_after_ms;
    actions.emplace_back(std::move(refusal));
    return;
  }
  if (choice.is_probe) probe_ = event.request;
  core_.step(event, now_ns, actions);
  see_probe(actions, now_ns);
}

void AdmissionPolicy::step(const daemon::Ended& event, uint64_t now_ns, Actions& actions) {
  using Verdict = daemon::Fallbacks::Verdict;
  const bool was_probe = event.request == probe_;
  if (was_probe) probe_ = 0;
  fallbacks_.ended(0, was_probe,
                   event.how == daemon::EndKind::kFailed ? Verdict::kFailed : Verdict::kSucceeded, now_ns);
  core_.step(event, now_ns, actions);
  see_probe(actions, now_ns);
}

// One that was refused says nothing of the model.
void AdmissionPolicy::see_probe(const Actions& actions, uint64_t now_ns) {
  if (probe_ == 0) return;
  for (const auto& action : actions) {
    const auto* refusal = std::get_if<daemon::Refuse>(&action);
    if (refusal == nullptr || refusal->request != probe_) continue;
    fallbacks_.ended(0, true, daemon::Fallbacks::Verdict::kNone, now_ns);
    probe_ = 0;
    return;
  }
}

}  // namespace deepserve::sim
