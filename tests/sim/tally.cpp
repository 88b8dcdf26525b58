#include "tests/sim/tally.h"

#include <algorithm>

#include "daemon/admission/admission_event.h"

namespace deepserve::sim {
namespace {

double part_of(uint64_t some, uint64_t all) {
  return all == 0 ? 0 : static_cast<double>(some) / static_cast<double>(all);
}

double seconds_between(uint64_t from_ns, uint64_t to_ns) {
  return to_ns > from_ns ? static_cast<double>(to_ns - from_ns) * 1e-9 : 0;
}

void add_refusal(const Attempt& attempt, ClassTally& of_class) {
  ++of_class.refused;
  ++of_class.reasons[static_cast<size_t>(attempt.reason)];
  if (attempt.ended_ns > attempt.arrived_ns + daemon::Tick::kInterval_ns) ++of_class.refused_later;
  if (attempt.would_have_fit) ++of_class.would_have_fit;
}

}  // namespace

double quantile(std::vector<double>& values, double part) {
  if (values.empty()) return 0;
  const auto rank = static_cast<size_t>(part * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(rank), values.end());
  return values[rank];
}

void Tally::add(const SimulationOptions& options, const SimulationResult& result) {
  const auto begin_ns = static_cast<uint64_t>(warmup_seconds * 1e9);
  const auto end_ns = static_cast<uint64_t>(options.seconds * 1e9);
  seconds += options.seconds - warmup_seconds;
  busy_seconds += result.busy_seconds;
  longest_step_seconds = std::max(longest_step_seconds, result.longest_step_seconds);
  idle_while_waiting_seconds += result.idle_while_waiting_seconds;
  preemptions += result.preemptions;
  events += result.events;
  for (const auto& ask : result.asks) {
    if (ask.first_ns < begin_ns) continue;
    auto& of_class = classes[static_cast<size_t>(options.demand.streams[ask.stream].service_class)];
    ++of_class.asks;
    ++of_class.outcomes[static_cast<size_t>(ask.outcome)];
  }
  for (size_t i = 1; i < result.attempts.size(); ++i) {
    const Attempt& attempt = result.attempts[i];
    auto& of_class = classes[static_cast<size_t>(attempt.service_class)];
    if (attempt.ended_ns >= begin_ns && attempt.ended_ns < end_ns) {
      const double work = result.work_of(attempt, options.shape);
      const bool full =
          attempt.state == AttemptState::kFinished && result.asks[attempt.ask].outcome == AskOutcome::kFull;
      of_class.work += work;
      (full ? of_class.good_work : wasted_work) += work;
    }
    if (attempt.arrived_ns < begin_ns) continue;
    ++of_class.attempts;
    if (attempt.state == AttemptState::kRefused) add_refusal(attempt, of_class);
    if (attempt.booked) ++booked;
    if (attempt.first_token_ns > 0) {
      const double ttft = seconds_between(attempt.arrived_ns, attempt.first_token_ns);
      of_class.ttft_seconds.push_back(ttft);
      if (attempt.generated > 1) {
        of_class.pace_seconds.push_back(seconds_between(attempt.first_token_ns, attempt.ended_ns) /
                                        (attempt.generated - 1));
      }
      if (attempt.predicted_ns > 0) {
        ++of_class.predicted;
        if (ttft <= static_cast<double>(attempt.predicted_ns) * 1e-9) ++of_class.covered;
      }
    }
    if (attempt.promised_ns == 0) continue;
    ++claimed;
    if (attempt.first_token_ns > 0 && attempt.first_token_ns <= attempt.deadline_ns) ++claims_served;
    if (attempt.sent_ns == 0) continue;
    const double late = seconds_between(std::max(attempt.promised_ns, attempt.arrived_ns), attempt.sent_ns);
    ticket_errors_seconds.push_back(late);
    ticket_errors.push_back(late / std::max(1.0, 0.1 * attempt.promised_wait_seconds));
  }
}

ClassTally Tally::total() const {
  ClassTally sum;
  for (const auto& of_class : classes) {
    for (size_t i = 0; i < sum.outcomes.size(); ++i) sum.outcomes[i] += of_class.outcomes[i];
    for (size_t i = 0; i < sum.reasons.size(); ++i) sum.reasons[i] += of_class.reasons[i];
    sum.asks += of_class.asks;
    sum.attempts += of_class.attempts;
    sum.refused += of_class.refused;
    sum.refused_later += of_class.refused_later;
    sum.would_have_fit += of_class.would_have_fit;
    sum.predicted += of_class.predicted;
    sum.covered += of_class.covered;
    sum.work += of_class.work;
    sum.good_work += of_class.good_work;
  }
  return sum;
}

double Tally::wasted() const {
  const double work = total().work;
  return work == 0 ? 0 : wasted_work / work;
}

double Tally::coverage() const {
  const auto sum = total();
  return part_of(sum.covered, sum.predicted);
}

double Tally::refused_needlessly() const {
  const auto sum = total();
  return part_of(sum.would_have_fit, sum.attempts);
}

}  // namespace deepserve::sim
