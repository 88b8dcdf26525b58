// Models that are loaded while they are wanted: an idle one is unloaded after its keep_alive, or to make room
// for another, and a request loads it again and waits for it, unless that was to be expected.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "daemon/config/units.h"
#include "daemon/serving/model_memory.h"
#include "daemon/serving/service.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kWanted_ns = 60 * kSecond_ns;  // without room for it, from its last request on

}  // namespace

// A request comes for a model that is not loaded: its deadline is judged by when it will be.
void Service::demand(uint32_t model) {
  auto& served = *served_[model];
  end_pause(model);
  if (!served.on_demand || served.wanted || served.rollout.routed() != 0) return;
  served.wanted = true;
  served.failure.clear();
  hold(model, false);
  loop_.defer([this] { look_at_demand(); });
}

// A request comes, whether the model is loaded or not.
void Service::end_pause(uint32_t model) {
  auto& served = *served_[model];
  const uint64_t now_ns = monotonic_ns();
  const uint64_t keep_ns = served_[model]->config.keep_alive_ns;
  const uint64_t pause_ns = now_ns - std::min(now_ns, served.used_ns);
  if (served.paused && keep_ns != 0 && pause_ns > keep_ns) served.pauses.add(pause_ns);
  served.used_ns = now_ns;
  served.paused = served.was_ahead = false;
  served.ahead_until_ns = 0;
}

// Nobody has anything to do with it: what it holds can be given to others.
bool Service::is_idle(uint32_t model) const {
  const auto& rollout = served_[model]->rollout;
  const auto* live = rollout.find(rollout.routed());
  if (live == nullptr || live->state != GenerationState::kLive || rollout.busy() || rollout.trying())
    return false;
  const bool runs = std::any_of(runners_.begin(), runners_.end(), [model](const auto& runner) {
    return runner->model == model && !runner->requests.empty();
  });
  return !runs && admission_.waiting_for(live_line(model)).empty();
}

void Service::unload_idle(uint32_t model, const std::string& why) {
  auto& served = *served_[model];
  RolloutActions actions;
  if (!served.rollout.unload(why, monotonic_ns(), actions)) return;
  spdlog::info("model '{}': {}", served_[model]->config.name, why);
  served.on_demand = true;
  served.order = "unload";
  carry_out(model, std::move(actions));
}

// Whether each device that it needs has room for it beside what other models hold. One that is too large by
// itself is loaded all the same: it says what it lacks.
bool Service::has_room_beside_others(uint32_t model) const {
  const auto& settings = settings_of(model);
  const uint64_t needed = runner_memory_bytes(settings);
  return std::all_of(settings.devices.begin(), settings.devices.end(), [&](const DeviceConfig& device) {
    const uint64_t room = room_of(device);
    if (room == 0) return true;
    uint64_t others = 0;
    for (const auto& runner : runners_) {
      if (runner->model == model || !takes_room(*runner, device)) continue;
      others += runner_memory_bytes(*runner->settings);
    }
    return others == 0 || needed + others <= room;
  });
}

const ModelConfig& Service::settings_of(uint32_t model) const {
  const auto& served = *served_[model];
  const uint32_t as = served.rollout.routed() != 0 ? served.rollout.routed() : served.rollout.previous();
  const auto known = served.settings.find(as);
  return known == served.settings.end() ? served.config : known->second;
}

// Of the idle ones that hold what `model` needs, the one whose last request is longest ago goes.
void Service::make_room(uint32_t model) {
  const auto& needed = settings_of(model).devices;
  std::optional<uint32_t> oldest;
  for (uint32_t other = 0; other < served_.size(); ++other) {
    const auto& devices = settings_of(other).devices;
    const bool shares = std::any_of(devices.begin(), devices.end(), [&](const DeviceConfig& device) {
      return std::any_of(needed.begin(), needed.end(), [&device](const auto& one) {
        return one.name == device.name || (one.is_gpu() && one.gpu == device.gpu);
      });
    });
    // One that goes already makes room.
    const auto& rollout = served_[other]->rollout;
    if (shares && other != model && rollout.routed() == 0 && rollout.busy()) return;
    if (!shares || other == model || !is_idle(other)) continue;
    if (!oldest || served_[other]->used_ns < served_[*oldest]->used_ns) oldest = other;
  }
  if (!oldest) return;  // it waits until one is idle, or its requests' time is over
  unload_idle(*oldest, fmt::format("unloaded to make room for '{}'", served_[model]->config.name));
}

// What was loaded for a request and cannot be makes room, and is tried again once supervision's window is
// over: an operator is not asked for what was unloaded without one.
void Service::give_up_load(uint32_t model) {
  auto& served = *served_[model];
  const auto* live = served.rollout.find(served.rollout.routed());
  if (live == nullptr || served.rollout.busy()) return;
  if (live->state == GenerationState::kLive) served.demanded = false;
  if (!served.demanded || model_may_serve(model)) return;
  served.demanded = false;
  served.failure = model_trouble(model).message;
  served.retry_ns = monotonic_ns() + config_.supervise.window_ns;
  unload_idle(model, served.failure);
}

// How long nobody tries to load it; 0: it may be loaded, or nobody will by himself.
uint64_t Service::retry_after_ms(uint32_t model) const {
  const auto& served = *served_[model];
  const uint64_t now_ns = monotonic_ns();
  if (served.failure.empty() || !served.on_demand || now_ns >= served.retry_ns) return 0;
  return (served.retry_ns - now_ns) / kMillisecond_ns + 1;
}

// Until when it is to wait for a request if it is loaded now; none: no request is to be expected yet. The
// room that it takes for nothing is what keep_alive allows at most, and nobody is unloaded for it.
std::optional<uint64_t> Service::ahead_until(uint32_t model, uint64_t now_ns) const {
  const auto& served = *served_[model];
  if (!served.paused || served.was_ahead) return std::nullopt;
  const auto expected = served.pauses.expected(served_[model]->config.keep_alive_ns);
  if (!expected) return std::nullopt;
  // It is looked at once a tick: one that loads within less must not fall between two of them.
  const uint64_t spare_ns = 2 * expected_load_ns(model) + RunnerLink::kTick_ms * kMillisecond_ns;
  const uint64_t until_ns = served.used_ns + expected->until_ns + spare_ns;
  if (now_ns + spare_ns < served.used_ns + expected->from_ns || now_ns > until_ns) return std::nullopt;
  return until_ns;
}

void Service::unload_unwanted(uint32_t model, uint64_t now_ns) {
  auto& served = *served_[model];
  const uint64_t keep_ns = served_[model]->config.keep_alive_ns;
  // An operator loads it before its requests come, and who was refused for the loading's sake is yet to come
  // back; what was loaded for a request that did not come has had its time.
  const auto* live = served.rollout.find(served.rollout.routed());
  const uint64_t loaded_ns = live == nullptr || served.ahead_until_ns != 0 ? 0 : live->live_ns;
  const uint64_t idle_ns = now_ns - std::min(now_ns, std::max(served.used_ns, loaded_ns));
  if (keep_ns == 0 || idle_ns <= keep_ns || now_ns <= served.ahead_until_ns || !is_idle(model)) return;
  const auto until_ns = ahead_until(model, now_ns);
  if (until_ns) {
    served.was_ahead = true;
    served.ahead_until_ns = *until_ns;
  } else if (std::exchange(served.ahead_until_ns, 0) != 0) {
    unload_idle(model, "unloaded: the request that was to be expected did not come");
  } else {
    unload_idle(model, fmt::format("unloaded after {} without a request", duration_text(keep_ns)));
  }
}

void Service::load_on_demand(uint32_t model, uint64_t now_ns) {
  auto& served = *served_[model];
  served.wanted = false;
  served.demanded = true;
  const ModelConfig settings = settings_of(model);
  served.settings.insert_or_assign(served.rollout.next_number(), settings);
  RolloutActions actions;
  served.rollout.start(settings.path, now_ns, actions);
  carry_out(model, std::move(actions));
  hold(model, false);
}

// Every tick, and when something has ended.
void Service::look_at_demand() {
  if (stopping_) return;
  const uint64_t now_ns = monotonic_ns();
  for (uint32_t model = 0; model < served_.size(); ++model) {
    auto& served = *served_[model];
    give_up_load(model);
    let_leave(model);
    unload_unwanted(model, now_ns);
    if (!served.rollout.absent()) continue;
    if (!served.wanted) {
      const auto until_ns = ahead_until(model, now_ns);
      if (!served.on_demand || !until_ns || !has_room_beside_others(model)) continue;
      spdlog::info("model '{}': loaded ahead of the request that its history lets expect",
                   served_[model]->config.name);
      served.was_ahead = true;
      served.ahead_until_ns = *until_ns;
      load_on_demand(model, now_ns);
      continue;
    }
    // Who was refused for the loading's sake comes back for his slot, and is to find it loaded.
    const bool given_up = now_ns - std::min(now_ns, served.used_ns) > kWanted_ns;
    if (given_up && admission_.waiting_for(live_line(model)).empty()) {
      served.wanted = false;
      tell(Reopened{live_line(model)});
    } else if (!has_room_beside_others(model)) {
      make_room(model);
    } else {
      load_on_demand(model, now_ns);
    }
  }
}

}  // namespace deepserve::daemon
