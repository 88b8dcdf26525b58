#include "daemon/admission/runner_book.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

constexpr double kHeldUp = 1.2;  // others will come as well
// Of the time of decoding, for prefill beside it: what runner/engine's StepBudget comes to where prefill
// costs there what it costs alone.
constexpr double kPrefillShare = 1 / (2.1 - 1);
constexpr double kTargetMargin = 0.02;
constexpr uint32_t kLooksAhead = 16;

}  // namespace

void RunnerBook::up(const RunnerUp& event) {
  up_ = has_room_ = true;
  model_ = event.model;
  capacity_ = event.capacity;
  capacity_.sequences_max = std::max(1u, capacity_.sequences_max);
  capacity_.kv_block_tokens = std::max(1u, capacity_.kv_block_tokens);
  measured_ = {};
  time_ = ServiceTime(capacity_);
}

void RunnerBook::told(const RunnerTold& event) {
  has_room_ = event.has_room;
  measured_ = measured_by(event.gauges);
  time_.set(measured_);
}

void RunnerBook::add(const RequestLoad& load, uint64_t now_ns) {
  for (auto i = static_cast<size_t>(load.runner_class()); i < prefilling_.size(); ++i) {
    const bool busy = std::any_of(loads_.begin(), loads_.end(), [i](const auto* one) {
      return !one->prefilled && static_cast<size_t>(one->runner_class()) <= i;
    });
    if (!busy) prefilling_[i] = {now_ns, 0};
  }
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

void RunnerBook::prefilled(const RequestLoad& load, uint64_t now_ns) {
  for (auto i = static_cast<size_t>(load.runner_class()); i < prefilling_.size(); ++i) {
    const double passed_s = prefilling_for_seconds(static_cast<ipc::Class>(i), now_ns);
    const double done_s = prefilling_[i].carried_s + passed_s / kBesideDecodes;
    prefilling_[i] = {now_ns, std::max(0.0, done_s - time_.prefill_seconds(load.uncached_tokens))};
  }
}

double RunnerBook::prefilling_for_seconds(ipc::Class service_class, uint64_t now_ns) const {
  const uint64_t since_ns = prefilling_[static_cast<size_t>(service_class)].since_ns;
  return static_cast<double>(now_ns - std::min(now_ns, since_ns)) * 1e-9;
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
  const double done_s = prefilling_for_seconds(load.runner_class(), now_ns);
  return all_s - std::max(longest_s, done_s) <= kBoundAhead_s;
}

bool RunnerBook::holds_up(const RequestLoad& load, uint64_t now_ns) const {
  const double beside = stretch(load, 0);
  const double own_s = beside * time_.prefill_seconds(load.uncached_tokens);
  const auto left_s = [now_ns](uint64_t until_ns) {
    return static_cast<double>(until_ns - std::min(until_ns, now_ns)) * 1e-9;
  };
  return std::any_of(loads_.begin(), loads_.end(), [&](const RequestLoad* one) {
    if (one->prefilled || one->deadline_ns == 0 || one->runner_class() != load.runner_class()) return false;
    if (one->uncached_tokens <= load.uncached_tokens) return false;
    const double until_s = beside * prefill_ahead(*one, now_ns).seconds;  // itself is part of that
    const bool in_time = until_s <= left_s(one->deadline_ns);
    const bool late = kHeldUp * (until_s + own_s) > left_s(one->deadline_ns);
    return in_time && late && until_s + own_s <= left_s(load.deadline_ns);
  });
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
  Decodes all;
  for (const auto* one : loads_) {
    if (one->prefilled) all.add(*one);
  }
  return all.context_tokens;
}

// Of what is in hand, since the last first token; prefill has the steps for itself or shares them.
double RunnerBook::prefill_done_seconds(ipc::Class service_class, uint64_t now_ns) const {
  const double passed_s = prefilling_for_seconds(service_class, now_ns);
  return prefilling_[static_cast<size_t>(service_class)].carried_s +
         passed_s / (decodes_beside(service_class) ? kBesideDecodes : 1.0);
}

bool RunnerBook::decodes_beside(ipc::Class service_class) const {
  return std::any_of(loads_.begin(), loads_.end(), [&](const RequestLoad* one) {
    return one->prefilled && one->runner_class() <= service_class;
  });
}

bool RunnerBook::prefills_ahead(const RequestLoad& load) const {
  return std::any_of(loads_.begin(), loads_.end(), [&](const RequestLoad* one) {
    return !one->prefilled && one->runner_class() <= load.runner_class();
  });
}

// Of what goes before the prefill of `load` or beside it: all of higher classes, shorter ones of its own; to
// longer ones it loses half of the steps at most.
RunnerBook::Ahead RunnerBook::prefill_ahead(const RequestLoad& load, uint64_t now_ns) const {
  const double own_s = time_.prefill_seconds(load.uncached_tokens);
  double ahead_s = 0;
  double longer_s = 0;
  uint32_t sequences = 0;
  for (const auto* one : loads_) {
    if (one->prefilled || one->runner_class() > load.runner_class()) continue;
    const bool longer =
        one->runner_class() == load.runner_class() && one->uncached_tokens > load.uncached_tokens;
    (longer ? longer_s : ahead_s) += time_.prefill_seconds(one->uncached_tokens);
    if (!longer) sequences += one->choices;
  }
  ahead_s += std::min(longer_s, own_s);
  const double done_s = prefill_done_seconds(load.runner_class(), now_ns);
  return {ahead_s - std::min(0.9 * ahead_s, done_s), sequences};
}

void RunnerBook::Decodes::add(const RequestLoad& load) {
  count += load.choices;
  context_tokens += double{1} * load.prompt_tokens * load.choices + load.generated_tokens;
}

// Of prefill beside so many decodes while `lower` ones sit out, in times of prefill alone: what StepBudget
// leaves it of a step.
double RunnerBook::stretch_beside(const Decodes& beside, const Decodes& lower, uint32_t prefills) const {
  const double decode_s = beside.count == 0 ? 0 : time_.step_seconds(beside.count, beside.context_tokens);
  if (decode_s <= 0) return 1;
  if (capacity_.step_target_s <= 0) return 1 + decode_s / std::max(capacity_.step_max_s, decode_s);
  const double crowd = std::max(1.0, static_cast<double>(prefills) / beside.count);
  const double most_s = std::max(std::min(capacity_.step_target_s, capacity_.step_max_s),
                                 (kPrefillShare - kTargetMargin) * decode_s);
  const double all_s =
      time_.step_seconds(beside.count + lower.count, beside.context_tokens + lower.context_tokens);
  const double freed_s = std::max(0.0, std::min(all_s, capacity_.step_max_s) - decode_s);
  return 1 + decode_s / (std::min(kPrefillShare * crowd * decode_s, most_s) + freed_s);
}

// The mean of it while `ahead` sequences start one after the other, and then decode beside the rest.
double RunnerBook::stretch(const RequestLoad& load, uint32_t ahead) const {
  Decodes beside, lower;
  uint32_t prefills = 1;
  for (const auto* one : loads_) {
    if (!one->prefilled) {
      ++prefills;
    } else {
      (one->runner_class() > load.runner_class() ? lower : beside).add(*one);
    }
  }
  ahead = std::min(ahead, kLooksAhead);
  double sum = 0;
  for (uint32_t i = 0; i <= ahead; ++i, ++beside.count) {
    sum += stretch_beside(beside, lower, prefills - std::min(prefills - 1, i));
  }
  return sum / (ahead + 1);
}

// The step that runs at present is half over; nothing that comes now is part of it.
double RunnerBook::start_after(const Ahead& ahead, const RequestLoad& load) const {
  const double prefill_s = ahead.seconds + time_.prefill_seconds(load.uncached_tokens);
  const double step_s = loads_.empty() ? 0 : 0.5 * time_.step_seconds(sequences_, context_tokens());
  return step_s + prefill_s * stretch(load, ahead.sequences);
}

double RunnerBook::start_seconds(const RequestLoad& load, uint64_t now_ns) const {
  return start_after(prefill_ahead(load, now_ns), load);
}

double RunnerBook::first_start_seconds(const RequestLoad& load) const {
  return start_after({}, load);
}

}  // namespace deepserve::daemon
