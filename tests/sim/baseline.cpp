#include "tests/sim/baseline.h"

#include <functional>
#include <utility>

#include "ipc/base/check.h"

namespace deepserve::sim {

Baseline::Baseline(const PolicyOptions& options) : options_(options), runners_(options.runners) {}

void Baseline::step(const daemon::Arrived& event, uint64_t now_ns, Actions& actions) {
  const Waiting waiting{event.request, event.service_class, std::hash<std::string>()(event.client), now_ns,
                        now_ns + kDeadlines_ns[static_cast<size_t>(event.service_class)]};
  if (!takes(waiting, now_ns)) return drop(waiting, actions);
  push(waiting);
  pump(now_ns, actions);
}

void Baseline::step(const daemon::Ended& event, uint64_t now_ns, Actions& actions) {
  const auto found = sent_.find(event.request);
  CHECK(found != sent_.end());
  --runners_[found->second.first].sequences;
  sent_.erase(found);
  pump(now_ns, actions);
}

void Baseline::step(const daemon::Returned& event, uint64_t now_ns, Actions& actions) {
  const auto found = sent_.find(event.request);
  CHECK(found != sent_.end());
  --runners_[found->second.first].sequences;
  replays_.push_back(found->second.second);
  sent_.erase(found);
  pump(now_ns, actions);
}

void Baseline::step(const daemon::RunnerUp& event, uint64_t now_ns, Actions& actions) {
  runners_.at(event.runner).up = true;
  pump(now_ns, actions);
}

void Baseline::step(const daemon::RunnerDown& event, uint64_t /*now_ns*/, Actions& /*actions*/) {
  runners_.at(event.runner).up = false;
}

void Baseline::step(const daemon::RunnerTold& event, uint64_t now_ns, Actions& actions) {
  runners_.at(event.runner).gauges = event.gauges;
  pump(now_ns, actions);
}

std::optional<Baseline::Waiting> Baseline::pop(uint64_t /*now_ns*/, Actions& /*actions*/) {
  if (queue_.empty()) return std::nullopt;
  const Waiting first = queue_.front();
  queue_.pop_front();
  return first;
}

std::optional<uint32_t> Baseline::runner_for() const {
  std::optional<uint32_t> best;
  for (uint32_t i = 0; i < runners_.size(); ++i) {
    if (!runners_[i].up || runners_[i].sequences >= options_.shape.sequences_max) continue;
    if (!best || runners_[i].sequences < runners_[*best].sequences) best = i;
  }
  return best;
}

void Baseline::drop(const Waiting& waiting, Actions& actions) const {
  daemon::Refuse refusal;
  refusal.request = waiting.request;
  refusal.reason = daemon::RefusalReason::kQueueFull;
  refusal.service_class = waiting.service_class;
  refusal.retry_after_ms = kRetryAfter_ms;
  actions.emplace_back(std::move(refusal));
}

void Baseline::pump(uint64_t now_ns, Actions& actions) {
  while (const auto runner = runner_for()) {
    std::optional<Waiting> next;
    if (!replays_.empty()) {
      next = replays_.front();
      replays_.pop_front();
    } else {
      next = pop(now_ns, actions);
    }
    if (!next) return;
    ++runners_[*runner].sequences;
    sent_.emplace(next->request, std::pair(*runner, *next));
    sent(*next, now_ns);
    actions.emplace_back(daemon::Dispatch{next->request, *runner});
  }
}

}  // namespace deepserve::sim
