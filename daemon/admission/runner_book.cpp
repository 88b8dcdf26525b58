#include "daemon/admission/runner_book.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::daemon {

void RunnerBook::up(const RunnerUp& event, double step_max_s) {
  up_ = has_room_ = true;
  model_ = event.model;
  capacity_ = event.capacity;
  capacity_.sequences_max = std::max(1u, capacity_.sequences_max);
  capacity_.kv_block_tokens = std::max(1u, capacity_.kv_block_tokens);
  time_ = ServiceTime(capacity_, step_max_s);
}

void RunnerBook::told(const RunnerTold& event) {
  has_room_ = event.has_room;
  time_.set(event.gauges);
}

void RunnerBook::add(const RequestLoad& load, uint64_t now_ns) {
  const bool idle = std::all_of(loads_.begin(), loads_.end(), [](const auto* one) { return one->prefilled; });
  if (idle) prefilling_since_ns_ = now_ns;
  loads_.push_back(&load);
  sequences_ += load.choices;
}

void RunnerBook::remove(const RequestLoad& load) {
  const auto place = std::find(loads_.begin(), loads_.end(), &load);
  CHECK(place != loads_.end());
  sequences_ -= load.choices;
  *place = loads_.back();
  loads_.pop_back();
}

void RunnerBook::prefilled(const RequestLoad& /*load*/, uint64_t now_ns) {
  prefilling_since_ns_ = now_ns;
}

uint32_t RunnerBook::sequences_up_to(ipc::Class service_class) const {
  uint32_t sequences = 0;
  for (const auto* load : loads_) {
    if (load->runner_class() <= service_class) sequences += load->choices;
  }
  return sequences;
}

bool RunnerBook::has_seats(const RequestLoad& load, bool capped) const {
  const bool vip = load.runner_class() == ipc::Class::kVip;
  const uint32_t taken = vip ? sequences_up_to(ipc::Class::kVip) : sequences_;
  if (taken == 0) return true;
  uint32_t seats = capacity_.sequences_max;
  if (capped && !vip) {
    const double each = context_tokens() / std::max(1u, sequences_);
    seats = std::min(seats, time_.batch_within_step_max(each));
  }
  return uint64_t{taken} + load.choices <= seats;
}

bool RunnerBook::may_bind(const RequestLoad& load, uint64_t now_ns) const {
  if (load.runner_class() == ipc::Class::kVip) return true;
  double all_s = 0;
  double longest_s = 0;
  for (const auto* one : loads_) {
    if (one->prefilled || one->runner_class() > load.runner_class()) continue;
    const double one_s = time_.prefill_seconds(one->uncached_tokens);
    all_s += one_s;
    longest_s = std::max(longest_s, one_s);
  }
  const double done_s = static_cast<double>(now_ns - std::min(now_ns, prefilling_since_ns_)) * 1e-9;
  return all_s - std::max(longest_s, done_s) <= kBoundAhead_s;
}

bool RunnerBook::has_memory(const RequestLoad& load, double headroom) const {
  if (capacity_.kv_blocks == 0) return true;
  const bool vip = load.runner_class() == ipc::Class::kVip;
  holders_.clear();
  const auto hold = [this](const RequestLoad& one) {
    const uint32_t each = one.generated_each();
    const uint32_t remaining = one.expected_tokens > each ? one.expected_tokens - each : 1;
    holders_.push_back({one.prompt_tokens + each, remaining});
    for (uint32_t choice = 1; choice < one.choices; ++choice) holders_.push_back({each, remaining});
  };
  for (const auto* one : loads_) {
    if (!vip || one->runner_class() == ipc::Class::kVip) hold(*one);  // vip preempts the others
  }
  if (holders_.empty()) return true;
  hold(load);
  const auto blocks_max = static_cast<uint64_t>((1.0 - headroom) * capacity_.kv_blocks);
  return kv_blocks_peak(holders_, capacity_.kv_block_tokens) <= blocks_max;
}

double RunnerBook::context_tokens() const {
  double tokens = 0;
  for (const auto* one : loads_) {
    if (one->prefilled) tokens += double{1} * one->prompt_tokens * one->choices + one->generated_tokens;
  }
  return tokens;
}

// Of what is in hand, since the last first token; prefill has the steps for itself or shares them.
double RunnerBook::prefill_done_seconds(ipc::Class service_class, uint64_t now_ns) const {
  const double passed_s = static_cast<double>(now_ns - std::min(now_ns, prefilling_since_ns_)) * 1e-9;
  return passed_s / (decodes_beside(service_class) ? kBesideDecodes : 1.0);
}

bool RunnerBook::decodes_beside(ipc::Class service_class) const {
  return std::any_of(loads_.begin(), loads_.end(), [&](const RequestLoad* one) {
    return one->prefilled && one->runner_class() <= service_class;
  });
}

// Of what goes before the prefill of `load` or beside it: all of higher classes, shorter ones of its own; to
// longer ones it loses half of the steps at most.
double RunnerBook::prefill_ahead_seconds(const RequestLoad& load, uint64_t now_ns) const {
  const double own_s = time_.prefill_seconds(load.uncached_tokens);
  double ahead_s = 0;
  double longer_s = 0;
  for (const auto* one : loads_) {
    if (one->prefilled || one->runner_class() > load.runner_class()) continue;
    const bool longer =
        one->runner_class() == load.runner_class() && one->uncached_tokens > load.uncached_tokens;
    (longer ? longer_s : ahead_s) += time_.prefill_seconds(one->uncached_tokens);
  }
  ahead_s += std::min(longer_s, own_s);
  const double done_s = prefill_done_seconds(load.runner_class(), now_ns);
  return ahead_s - std::min(0.9 * ahead_s, done_s);
}

double RunnerBook::start_seconds(const RequestLoad& load, uint64_t now_ns) const {
  const double prefill_s = prefill_ahead_seconds(load, now_ns) + time_.prefill_seconds(load.uncached_tokens);
  // The step that runs at present is half over; nothing that comes now is part of it.
  const double step_s = loads_.empty() ? 0 : 0.5 * time_.step_seconds(sequences_, context_tokens());
  return step_s + prefill_s * (decodes_beside(load.runner_class()) ? kBesideDecodes : 1.0);
}

}  // namespace deepserve::daemon
