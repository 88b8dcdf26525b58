#include "daemon/rollout/rollout.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ipc/base/check.h"

namespace deepserve::daemon {

using S = GenerationState;
using E = GenerationEvent;

const Generation* Rollout::find(uint32_t number) const {
  const auto found = std::find_if(history_.begin(), history_.end(),
                                  [number](const Generation& one) { return one.number == number; });
  return found == history_.end() ? nullptr : &*found;
}

Generation* Rollout::get(uint32_t number) {
  return const_cast<Generation*>(std::as_const(*this).find(number));
}

uint32_t Rollout::warm() const {
  for (const auto& one : history_) {
    if (one.state == S::kReady && one.number != target_ && one.number != routed_) return one.number;
  }
  return 0;
}

uint32_t Rollout::previous() const {
  return find(before_) == nullptr ? 0 : before_;
}

bool Rollout::settled() const {
  if (order_ != Order::kNone || drained_first_ != 0) return false;
  return std::all_of(history_.begin(), history_.end(), [](const Generation& one) {
    return one.state == S::kLive || one.state == S::kReady || generation_is_over(one.state);
  });
}

void Rollout::step(Generation& generation, GenerationEvent event, uint64_t now_ns) {
  const auto cell = generation_cell(generation.state, event);
  CHECK(cell.rule != GenerationRule::kImpossible);
  if (cell.rule != GenerationRule::kGo) return;
  generation.state = cell.next;
  if (cell.next == S::kReady && generation.ready_ns == 0) generation.ready_ns = now_ns;
  if (cell.next == S::kLive) generation.live_ns = now_ns;
  if (generation_is_over(cell.next)) generation.ended_ns = now_ns;
}

Generation& Rollout::begin(const std::string& path, uint64_t now_ns) {
  auto& generation = history_.emplace_back();
  generation.number = next_number_++;
  generation.path = path;
  generation.begun_ns = now_ns;
  return generation;
}

// What has a process, or may be gone back to, is never forgotten.
void Rollout::forget_old() {
  while (history_.size() > kHistoryMax) {
    const auto oldest = std::find_if(history_.begin(), history_.end(), [this](const Generation& one) {
      return generation_is_over(one.state) && one.number != before_ && one.number != drained_first_;
    });
    if (oldest == history_.end()) return;
    history_.erase(oldest);
  }
}

Result<void> Rollout::refuse_if_busy() const {
  if (busy()) return fail(Code::kConflict, "another order for model '{}' is being carried out", model_);
  if (trying()) {
    return fail(Code::kConflict, "model '{}' has a {}, generation {}: promote it or roll it back first",
                model_, trial_name(), canary_);
  }
  return {};
}

void Rollout::spawn(Generation& generation, uint32_t settings_of, uint64_t now_ns, RolloutActions& actions) {
  step(generation, E::kLoad, now_ns);
  target_ = generation.number;
  actions.push_back(SpawnGeneration{generation.number, settings_of});
}

void Rollout::take_traffic(Generation& generation, RolloutActions& actions) {
  routed_ = generation.number;
  actions.push_back(RouteTo{routed_});
}

void Rollout::start(const std::string& path, uint64_t now_ns, RolloutActions& actions) {
  CHECK(absent());
  auto& generation = begin(path, now_ns);
  spawn(generation, generation.number, now_ns, actions);
  take_traffic(generation, actions);
}

RolloutRecord Rollout::record() const {
  RolloutRecord record{history_, routed_, before_, canary_, canary_ == 0 ? 0 : percent_, mirrors_, false};
  const auto* drains = find(drained_first_);
  if (order_ == Order::kSwapDrain && drains != nullptr) {
    record.routed = drained_first_;  // the new one has no process yet
  } else if (order_ == Order::kSwapDrain) {
    record.restores = true;
  } else if (order_ == Order::kUnload && drains != nullptr && drains->state == S::kDraining) {
    record.routed = drained_first_;
  }
  return record;
}

void Rollout::restore(RolloutRecord record, uint64_t now_ns) {
  CHECK(history_.empty());
  history_ = std::move(record.history);
  const auto known = [this](uint32_t number) { return find(number) == nullptr ? 0 : number; };
  routed_ = known(record.routed);
  before_ = record.before == record.routed ? 0 : known(record.before);
  canary_ = record.canary == record.routed ? 0 : known(record.canary);
  for (auto& one : history_) {
    next_number_ = std::max(next_number_, one.number + 1);
    const bool was_warm = one.state == S::kReady && one.number == before_ && keep_warm_ns_ != 0;
    if (one.number == routed_) {
      one.state = S::kLoading;
    } else if (one.number == canary_) {
      one.state = record.mirrors ? S::kShadow : S::kCanary;
    } else if (one.state == S::kAbsent) {
      one.state = S::kRetired;
      one.reason = "the daemon ended before it was loaded";
    } else if (!generation_is_over(one.state) && !was_warm) {
      if (one.ready_ns == 0) one.reason = "the daemon ended while it was loaded";
      one.state = S::kDraining;
    }
  }
  warm_until_ns_ = now_ns + keep_warm_ns_;
  if (canary_ != 0) {
    order_ = Order::kTrying;
    percent_ = record.percent;
    mirrors_ = record.mirrors;
    until_judged_ = false;
  } else if (record.restores && routed_ != 0 && before_ != 0) {
    order_ = Order::kSwapDrain;
    target_ = settings_of_ = routed_;
  }
}

Result<void> Rollout::load(const std::string& path, uint64_t now_ns, RolloutActions& actions) {
  TRY(refuse_if_busy());
  if (routed_ != 0) {
    return fail(Code::kConflict, "model '{}' is loaded, as generation {}: swap it", model_, routed_);
  }
  order_ = Order::kLoad;
  auto& generation = begin(path, now_ns);
  spawn(generation, generation.number, now_ns, actions);
  take_traffic(generation, actions);
  return {};
}

Result<void> Rollout::swap(const std::string& path, SwapWay way, uint64_t now_ns, RolloutActions& actions) {
  TRY(refuse_if_busy());
  if (routed_ == 0) return load(path, now_ns, actions);
  drop_warm(now_ns, actions);
  auto& generation = begin(path, now_ns);
  target_ = settings_of_ = generation.number;
  if (way == SwapWay::kBeside) {
    order_ = Order::kSwapBeside;
    spawn(generation, settings_of_, now_ns, actions);
    return {};
  }
  order_ = Order::kSwapDrain;
  drained_first_ = before_ = routed_;
  actions.push_back(HoldQueue{});
  auto& old = *get(routed_);
  take_traffic(generation, actions);
  if (old.state == S::kLive) {
    step(old, E::kUnroute, now_ns);
  } else {
    stop(old, E::kRetire, "replaced before it was ready", now_ns, actions);
  }
  return {};
}

Result<void> Rollout::rollback(SwapWay way, uint64_t now_ns, RolloutActions& actions) {
  TRY(refuse_if_busy());
  const uint32_t to = previous();
  if (to == 0) return fail(Code::kConflict, "model '{}' has no generation before this one", model_);
  auto& before = *get(to);
  if (before.state == S::kReady || before.state == S::kDraining) {
    go_live(before, now_ns, actions);
    done({}, actions);
    return {};
  }
  const std::string path = before.path;
  TRY(swap(path, way, now_ns, actions));
  settings_of_ = to;
  for (auto& action : actions) {
    if (auto* spawned = std::get_if<SpawnGeneration>(&action)) spawned->settings_of = to;
  }
  return {};
}

Result<void> Rollout::unload(const std::string& why, uint64_t now_ns, RolloutActions& actions) {
  TRY(refuse_if_busy());
  if (routed_ == 0) return fail(Code::kConflict, "model '{}' is not loaded", model_);
  drop_warm(now_ns, actions);
  auto& live = *get(routed_);
  live.reason = why;
  order_ = Order::kUnload;
  drained_first_ = before_ = routed_;
  routed_ = 0;
  actions.push_back(RouteTo{0});
  if (live.state != S::kLive) {
    stop(live, E::kRetire, why, now_ns, actions);
  } else {
    step(live, E::kUnroute, now_ns);
  }
  return {};
}

Result<void> Rollout::canary(const std::string& path, double percent, bool until_judged, uint64_t now_ns,
                             RolloutActions& actions) {
  TRY(refuse_if_busy());
  mirrors_ = false;
  until_judged_ = until_judged;
  return try_out(path, percent, now_ns, actions);
}

Result<void> Rollout::shadow(const std::string& path, double percent, uint64_t now_ns,
                             RolloutActions& actions) {
  TRY(refuse_if_busy());
  mirrors_ = true;
  until_judged_ = false;
  return try_out(path, percent, now_ns, actions);
}

Result<void> Rollout::try_out(const std::string& path, double percent, uint64_t now_ns,
                              RolloutActions& actions) {
  const auto* live = find(routed_);
  if (live == nullptr || live->state != S::kLive) {
    return fail(Code::kConflict, "model '{}' has no live generation that a {} could be held against", model_,
                trial_name());
  }
  drop_warm(now_ns, actions);
  order_ = Order::kCanaryLoad;
  percent_ = percent;
  auto& generation = begin(path, now_ns);
  spawn(generation, generation.number, now_ns, actions);
  return {};
}

Result<void> Rollout::promote(uint64_t now_ns, RolloutActions& actions) {
  if (!trying()) return fail(Code::kConflict, "model '{}' has no canary and no shadow", model_);
  auto& generation = *get(std::exchange(canary_, 0));
  go_live(generation, now_ns, actions);
  actions.push_back(RouteCanary{0, 0});
  order_ = Order::kNone;
  if (until_judged_) done({}, actions);
  return {};
}

Result<void> Rollout::reject(const std::string& why, uint64_t now_ns, RolloutActions& actions) {
  if (!trying()) return fail(Code::kConflict, "model '{}' has no canary and no shadow", model_);
  auto& generation = *get(std::exchange(canary_, 0));
  generation.reason = why;
  step(generation, E::kUnroute, now_ns);
  actions.push_back(RouteCanary{0, 0});
  order_ = Order::kNone;
  if (until_judged_) {
    done(fail(Code::kModelFailed, "generation {} of model '{}' was rolled back: {}", generation.number,
              model_, why),
         actions);
  }
  return {};
}

void Rollout::observe(uint32_t number, const GenerationTally& tally, uint64_t now_ns,
                      RolloutActions& actions) {
  auto* generation = get(number);
  if (tally.gone) return on_gone(number, now_ns, actions);
  if (generation == nullptr || generation_is_over(generation->state)) return;
  // What served before has every chance that supervision gives it.
  const bool counts = !tally.trouble.empty() && (tally.hopeless || order_ != Order::kRestore);
  if (counts && order_ != Order::kNone && (number == target_ || number == canary_)) {
    return on_trouble(*generation, tally.trouble, now_ns, actions);
  }
  const bool loads = generation->state == S::kLoading || generation->state == S::kWarming;
  if (loads && tally.warming + tally.ready > 0) step(*generation, E::kWarm, now_ns);
  // What nobody else could serve is served by the first runner that can.
  const bool enough = number == routed_ ? tally.ready > 0 : tally.ready == tally.runners && tally.runners > 0;
  if (loads && enough) {
    step(*generation, E::kReady, now_ns);
    return on_ready(*generation, now_ns, actions);
  }
  if (generation->state == S::kDraining && tally.requests == 0) on_drained(*generation, now_ns, actions);
}

void Rollout::on_ready(Generation& generation, uint64_t now_ns, RolloutActions& actions) {
  const bool ordered = order_ != Order::kNone && generation.number == target_;
  if (generation.number == target_) target_ = 0;
  if (ordered && order_ == Order::kCanaryLoad) {
    order_ = Order::kTrying;
    canary_ = generation.number;
    step(generation, mirrors_ ? E::kMirror : E::kTryOut, now_ns);
    actions.push_back(RouteCanary{canary_, percent_, mirrors_});
    if (!until_judged_) actions.push_back(OrderDone{});
    return;
  }
  go_live(generation, now_ns, actions);
  if (!ordered) return;
  if (auto error = std::exchange(load_error_, std::nullopt)) {
    done(tl::unexpected<Error>(std::move(*error)), actions);
  } else {
    done({}, actions);
  }
}

// The atomic moment: what comes from now on goes to the new one, what runs ends on the old one.
void Rollout::go_live(Generation& generation, uint64_t now_ns, RolloutActions& actions) {
  auto* old = get(routed_);
  step(generation, E::kRoute, now_ns);
  take_traffic(generation, actions);
  if (old == nullptr || old == &generation || generation_is_over(old->state)) return;
  before_ = old->number;
  if (old->state == S::kLoading || old->state == S::kWarming) {
    return stop(*old, E::kRetire, "replaced before it was ready", now_ns, actions);
  }
  step(*old, E::kUnroute, now_ns);
}

void Rollout::on_drained(Generation& generation, uint64_t now_ns, RolloutActions& actions) {
  const bool keeps = keep_warm_ns_ != 0 && generation.number == before_ && order_ == Order::kNone;
  if (!keeps) return stop(generation, E::kRetire, generation.reason, now_ns, actions);
  step(generation, E::kDrained, now_ns);
  warm_until_ns_ = now_ns + keep_warm_ns_;
}

void Rollout::on_gone(uint32_t number, uint64_t now_ns, RolloutActions& actions) {
  // One that an earlier dsd left and that died with it: nothing to go back to.
  auto* generation = get(number);
  if (generation != nullptr && (generation->state == S::kDraining || generation->state == S::kReady))
    step(*generation, E::kRetire, now_ns);
  if (number != drained_first_) return;
  drained_first_ = 0;
  if (order_ == Order::kUnload) return done({}, actions);
  if (order_ != Order::kSwapDrain) return;
  spawn(*get(target_), settings_of_, now_ns, actions);
}

void Rollout::on_trouble(Generation& generation, const std::string& reason, uint64_t now_ns,
                         RolloutActions& actions) {
  const bool tried = order_ == Order::kTrying;
  Error error{Code::kModelFailed, fmt::format("generation {} of model '{}' {}: {}", generation.number, model_,
                                              tried ? "was rolled back" : "could not be loaded", reason)};
  target_ = 0;
  if (tried) {
    canary_ = 0;
    order_ = Order::kNone;
    actions.push_back(RouteCanary{0, 0});
    stop(generation, E::kFail, reason, now_ns, actions);
    if (until_judged_) done(tl::unexpected<Error>(std::move(error)), actions);
    return;
  }
  if (order_ == Order::kSwapDrain) {
    // The room is free: what served before is loaded again, and the queue is held that long.
    order_ = Order::kRestore;
    load_error_ = std::move(error);
    const std::string path = get(before_)->path;
    auto& restored = begin(path, now_ns);
    spawn(restored, before_, now_ns, actions);
    take_traffic(restored, actions);
    return stop(generation, E::kFail, reason, now_ns, actions);
  }
  if (routed_ == generation.number) {
    routed_ = 0;
    actions.push_back(RouteTo{0});
  }
  stop(generation, E::kFail, reason, now_ns, actions);
  if (auto first = std::exchange(load_error_, std::nullopt)) {
    error.message = first->message + "; and what served before could not be loaded again: " + reason;
  }
  done(tl::unexpected<Error>(std::move(error)), actions);
}

void Rollout::stop(Generation& generation, GenerationEvent event, const std::string& reason, uint64_t now_ns,
                   RolloutActions& actions) {
  if (!reason.empty()) generation.reason = reason;
  step(generation, event, now_ns);
  actions.push_back(StopGeneration{generation.number});
}

void Rollout::done(Result<void> result, RolloutActions& actions) {
  order_ = Order::kNone;
  actions.push_back(OrderDone{std::move(result)});
}

void Rollout::drop_warm(uint64_t now_ns, RolloutActions& actions) {
  if (auto* kept = get(warm())) stop(*kept, E::kRetire, "", now_ns, actions);
}

void Rollout::tick(uint64_t now_ns, RolloutActions& actions) {
  if (warm() != 0 && now_ns >= warm_until_ns_ && !busy()) drop_warm(now_ns, actions);
  forget_old();
}

}  // namespace deepserve::daemon
