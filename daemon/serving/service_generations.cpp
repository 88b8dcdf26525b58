// One generation of a model takes another's place. The rules are rollout/'s; here runners are spawned, routed
// to and ended as it says, and it is told what becomes of them.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>

#include "daemon/serving/model_memory.h"
#include "daemon/serving/service.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

// Before a model was loaded once: as if its file came at so much a second, and a process took so long.
constexpr double kAssumedBytesPerSecond = 500e6;
constexpr uint64_t kAssumedStart_ns = kSecond_ns / 2;

}  // namespace

void Service::order(const ModelOrder& order, std::function<void(Result<void>)> done) {
  const auto later = [this](auto to, Result<void> result) {
    loop_.defer([to = std::move(to), result = std::move(result)] { to(result); });
  };
  if (stopping_) return later(std::move(done), fail(Code::kShuttingDown, "the server is shutting down"));
  const auto model = find_model(order.model);
  if (!model || order.model.empty()) {
    return later(std::move(done), fail(Code::kModelNotFound, "there is no model '{}'", order.model));
  }
  const uint32_t index = *model;
  auto& served = *served_[index];
  const bool goes_back = order.verb == ModelVerb::kRollback || order.verb == ModelVerb::kUnload;
  if (const auto kept = goes_back ? Result<void>() : keep_generations(); !kept) {
    // After a death of this dsd what serves then would be nobody's, and its requests lost.
    return later(std::move(done),
                 fail(kept.error().code, "the next daemon would not know of it: {}", kept.error().message));
  }
  RolloutActions actions;
  const auto begun = begin_order(index, order, actions);
  if (!begun) return later(std::move(done), begun);
  spdlog::info("model '{}': {}{}{}", served.config.name, model_verb_name(order.verb),
               order.path.empty() ? "" : ", path ", order.path);
  // A word on a canary is carried out at once; who waits for its verdict hears of it as well.
  if (order.verb == ModelVerb::kPromote || !served.rollout.busy()) {
    const bool is_answered = std::any_of(actions.begin(), actions.end(), [](const auto& action) {
      return std::holds_alternative<OrderDone>(action);
    });
    if (!is_answered || served.ordered)
      later(std::move(done), Result<void>());
    else
      served.ordered = std::move(done);
  } else {
    served.ordered = std::move(done);
    served.order = model_verb_name(order.verb);
  }
  carry_out(index, std::move(actions));
}

// The order at the rules; nothing has happened where it fails.
Result<void> Service::begin_order(uint32_t model, const ModelOrder& order, RolloutActions& actions) {
  auto& served = *served_[model];
  auto& rollout = served.rollout;
  const uint64_t now_ns = monotonic_ns();
  if (order.verb == ModelVerb::kPromote) return rollout.promote(now_ns, actions);
  if (order.verb == ModelVerb::kUnload) {
    TRY(rollout.unload("unloaded by an operator", now_ns, actions));
    served.on_demand = served.wanted = served.demanded = false;
    served.failure.clear();
    return {};
  }
  if (order.verb == ModelVerb::kRollback && rollout.trying()) {
    return rollout.reject("rolled back by an operator", now_ns, actions);
  }
  const uint32_t as = rollout.routed() != 0 ? rollout.routed() : rollout.previous();
  const auto known = served.settings.find(order.verb == ModelVerb::kRollback ? rollout.previous() : as);
  ModelConfig settings = known == served.settings.end() ? served.config : known->second;
  if (!order.path.empty()) {
    settings.path = order.path;
    if (!order.path.starts_with('/') || order.path.find('\0') != std::string::npos)
      return fail(Code::kInvalidRequest, "'{}' is no absolute path", order.path);
    std::error_code error;
    if (!std::filesystem::exists(order.path, error))
      return fail(Code::kNotFound, "there is no '{}'", order.path);
  }
  TRY_ASSIGN(const SwapWay way, way_to_swap(model, settings));
  const bool tries = order.verb == ModelVerb::kCanary || order.verb == ModelVerb::kShadow;
  if (tries && way != SwapWay::kBeside) {
    return fail(Code::kNotSupported,
                "model '{}': its devices' memory_limit has no room for a {} beside the live generation",
                order.model, model_verb_name(order.verb));
  }
  const uint32_t number = rollout.next_number();
  served.settings.insert_or_assign(number, settings);
  const auto begun = [&]() -> Result<void> {
    switch (order.verb) {
      case ModelVerb::kLoad:
        return rollout.load(settings.path, now_ns, actions);
      case ModelVerb::kSwap:
        return rollout.swap(settings.path, way, now_ns, actions);
      case ModelVerb::kRollback:
        return rollout.rollback(way, now_ns, actions);
      case ModelVerb::kShadow:
        return rollout.shadow(settings.path, order.percent, now_ns, actions);
      default:
        return rollout.canary(settings.path, order.percent, order.judged, now_ns, actions);
    }
  }();
  if (!begun || rollout.find(number) == nullptr) served.settings.erase(number);
  if (begun && tries) {
    served.judge.emplace();
    served.judged = order.judged;
    served.shadow.reset();
    if (order.verb == ModelVerb::kShadow) served.shadow.emplace();
  }
  return begun;
}

// What runners on it may have together; 0: nobody says. Of a GPU some is the driver's and CUDA's own.
uint64_t Service::room_of(const DeviceConfig& device) const {
  const bool asks_driver = device.memory_limit_bytes == 0 && device.is_gpu() && options_.gpus != nullptr;
  const GpuState* gpu = asks_driver ? options_.gpus->named(device.gpu) : nullptr;
  return gpu == nullptr ? device.memory_limit_bytes : gpu->identity.memory_bytes / 16 * 15;
}

// Whether it has some of that.
bool Service::takes_room(const Runner& runner, const DeviceConfig& device) {
  const bool of_gpu = device.memory_limit_bytes == 0 && device.is_gpu();
  return of_gpu ? runner.link->is_on_gpu(device.gpu) : runner.link->is_on(device.name);
}

// Whether its devices have room for it beside all that they hold but what is kept warm of it. kNotSupported:
// they have not even for it alone.
Result<SwapWay> Service::way_to_swap(uint32_t model, const ModelConfig& settings) const {
  const uint64_t needed = runner_memory_bytes(settings);
  const uint32_t warm = served_[model]->rollout.warm();
  auto way = SwapWay::kBeside;
  for (const auto& device : settings.devices) {
    const uint64_t limit = room_of(device);
    if (limit == 0) continue;
    uint64_t others = 0;
    uint64_t own = 0;
    for (const auto& runner : runners_) {
      if (runner->model == model && runner->generation == warm) continue;
      if (!takes_room(*runner, device)) continue;
      (runner->model == model ? own : others) += runner_memory_bytes(*runner->settings);
    }
    if (needed + others > limit) {
      return fail(
          Code::kNotSupported, "'{}' takes {} bytes, others hold {} bytes of device '{}', and {} is {}",
          settings.path, needed, others, device.name,
          device.memory_limit_bytes != 0 ? "its memory_limit" : "what its GPU has for runners", limit);
    }
    if (needed + others + own > limit) way = SwapWay::kDrainFirst;
  }
  return way;
}

void Service::carry_out(uint32_t model, RolloutActions actions) {
  auto& served = *served_[model];
  for (auto& action : actions) {
    if (const auto* spawn = std::get_if<SpawnGeneration>(&action)) {
      if (!served.settings.contains(spawn->generation) || spawn->settings_of != spawn->generation) {
        const ModelConfig copy = served.settings.at(spawn->settings_of);
        served.settings.insert_or_assign(spawn->generation, copy);
      }
      spawn_generation(model, spawn->generation);
    } else if (const auto* to = std::get_if<RouteTo>(&action)) {
      route(model, to->generation);
    } else if (const auto* canary = std::get_if<RouteCanary>(&action)) {
      if (canary->generation == 0) keep_evidence(model);
      served.tried = canary->generation;
      route_canary(model, canary->generation);
    } else if (std::holds_alternative<HoldQueue>(action)) {
      hold(model, true);
    } else if (const auto* stop = std::get_if<StopGeneration>(&action)) {
      stop_generation(model, stop->generation);
    } else if (auto* done = std::get_if<OrderDone>(&action)) {
      if (!done->result)
        spdlog::warn("model '{}': {}", served_[model]->config.name, done->result.error().message);
      served.order.clear();
      // Those whose runner died meanwhile waited for what was to come.
      if (!model_may_serve(model)) lose_line(model);
      loop_.defer([this] { look_at_demand(); });
      if (!served.ordered) continue;
      loop_.defer([to = std::exchange(served.ordered, nullptr), result = done->result] { to(result); });
    }
  }
  if (!actions.empty()) (void)keep_generations();
}

// "tiny@cpu0"; while another runner has that name "tiny@cpu0#2": names are labels of metrics, and the next
// swap may have this one back.
std::string Service::free_runner_id(const ModelConfig& settings, const DeviceGroup& devices) const {
  const std::string plain = runner_id(settings, devices);
  const auto is_taken = [this](const std::string& id) {
    return std::any_of(runners_.begin(), runners_.end(),
                       [&](const auto& runner) { return runner->link && runner->link->id() == id; });
  };
  std::string id = plain;
  for (uint32_t copy = 2; is_taken(id); ++copy) id = fmt::format("{}#{}", plain, copy);
  return id;
}

uint32_t Service::free_runner_index() const {
  uint32_t index = 0;
  while (std::any_of(runners_.begin(), runners_.end(),
                     [index](const auto& runner) { return runner->index == index; })) {
    ++index;
  }
  return index;
}

void Service::spawn_generation(uint32_t model, uint32_t number, const std::vector<std::string>& ids) {
  auto& served = *served_[model];
  const ModelConfig& settings = served.settings.at(number);
  served.spawned_ns = monotonic_ns();
  if (ids.empty())
    spdlog::info("model '{}': loading generation {} from {}", settings.name, number, settings.path);
  if (served.rollout.routed() == number && served.rollout.busy()) hold(model, false);
  size_t next = 0;
  for (DeviceGroup& devices : device_groups(settings)) {
    auto made = std::make_unique<Runner>();
    made->index = free_runner_index();
    made->model = model;
    made->line = live_line(model);
    made->generation = number;
    made->routed = served.rollout.routed() == number;
    made->settings = std::make_unique<const ModelConfig>(settings);
    std::string id = next < ids.size() ? ids[next++] : free_runner_id(settings, devices);
    made->link =
        std::make_unique<RunnerLink>(loop_, config_, *made->settings, std::move(devices), std::move(id),
                                     RunnerLink::Programs{options_.runner_binary, options_.rendezvous_dir},
                                     gpus_, static_cast<RunnerOwner&>(*this));
    auto& runner = *runners_.emplace_back(std::move(made));
    if (served.rollout.routed() != 0 && served.rollout.routed() != number) runner.link->load_behind();
    // While those of an earlier dsd are asked for, begin_runners() starts it in the end.
    if (begun_ && (adoption_ == nullptr || adoption_->over())) runner.link->start();
  }
}

void Service::set_route(Runner& runner, bool routed, uint32_t line) {
  if (runner.taking && (!routed || runner.line != line)) {
    runner.taking = false;
    tell(RunnerDown{runner.index});
  }
  runner.routed = routed;
  runner.line = line;
}

// All at once: nothing is dispatched in between.
void Service::route(uint32_t model, uint32_t generation) {
  auto& served = *served_[model];
  for (auto& runner : runners_) {
    if (runner->model != model) continue;
    if (runner->generation == generation) {
      set_route(*runner, true, live_line(model));
    } else if (runner->generation != served.rollout.canary_number()) {
      set_route(*runner, false, runner->line);
    }
  }
  if (generation == 0) {
    if (served.on_demand) return;
    tell(Reopened{live_line(model)});
    lose_line(model);
    return;
  }
  spdlog::info("model '{}': requests go to generation {}", served_[model]->config.name, generation);
  fallbacks_.breaker(model).renew();
  for (auto& runner : runners_) {
    if (runner->model == model && runner->routed) tell_runner(*runner);
  }
}

void Service::route_canary(uint32_t model, uint32_t generation) {
  const uint32_t line = canary_line(model);
  for (auto& runner : runners_) {
    if (runner->model != model) continue;
    if (generation != 0 && runner->generation == generation) {
      set_route(*runner, true, line);
      tell_runner(*runner);
    } else if (runner->line == line) {
      set_route(*runner, false, line);
    }
  }
  if (generation != 0) return;
  forget_copies(model);
  for (const RequestId id : admission_.waiting_for(line)) {
    records_.at(id)->line = live_line(model);
    tell(Rerouted{id, live_line(model)});
  }
}

void Service::stop_generation(uint32_t model, uint32_t number) {
  for (auto& runner : runners_) {
    if (runner->model != model || runner->generation != number || runner->ending) continue;
    set_route(*runner, false, runner->line);
    runner->ending = true;
    runner->link->stop();
  }
}

void Service::hold(uint32_t model, bool drains) {
  tell(Held{live_line(model), expected_load_ns(model), drains});
}

uint64_t Service::expected_load_ns(uint32_t model) const {
  const auto& served = *served_[model];
  if (served.load_ns != 0) return served.load_ns + served.load_ns / 4;
  const double bytes = static_cast<double>(model_file_bytes(served_[model]->config.path));
  return kAssumedStart_ns + static_cast<uint64_t>(bytes / kAssumedBytesPerSecond * 1e9);
}

GenerationTally Service::tally_of(uint32_t model, uint32_t number) const {
  GenerationTally tally;
  tally.gone = true;
  // What an adopted runner has in hand, it tells once it is connected: a generation is not over before.
  const bool was_adopted = std::any_of(runners_.begin(), runners_.end(),
                                       [](const auto& runner) { return runner->link->was_adopted(); });
  const bool is_young = was_adopted && monotonic_ns() - restored_ns_ < kReturnMax_ns;
  if (is_young || may_hear_of_more()) tally.requests = 1;
  for (const auto& runner : runners_) {
    if (runner->model != model || runner->generation != number) continue;
    const auto& link = *runner->link;
    const auto& supervision = link.supervision();
    tally.gone = false;
    ++tally.runners;
    tally.ready += link.is_ready() ? 1 : 0;
    tally.warming += link.warms_up() ? 1 : 0;
    tally.requests += static_cast<uint32_t>(runner->requests.size());
    const bool hopeless = supervision.status() == RunnerStatus::kFailed;
    if (!hopeless && supervision.last_blame() != Blame::kRunner) continue;
    tally.trouble = supervision.last_error();
    tally.hopeless = tally.hopeless || hopeless;
  }
  return tally;
}

// Before the loop sleeps: what has become of those that come up, drain or end.
void Service::look_at_generations() {
  if (stopping_ || (adoption_ != nullptr && !adoption_->over())) return;
  remove_ended_runners();
  const uint64_t now_ns = monotonic_ns();
  for (uint32_t model = 0; model < served_.size(); ++model) {
    auto& served = *served_[model];
    auto& rollout = served.rollout;
    if (rollout.settled()) follow_configuration(model);
    RolloutActions actions;
    if (!rollout.settled()) {
      std::vector<uint32_t> numbers;
      for (const auto& one : rollout.history()) numbers.push_back(one.number);
      for (const uint32_t number : numbers) {
        const auto* one = rollout.find(number);
        if (one->state == GenerationState::kAbsent) continue;
        const bool comes_up = one->ready_ns == 0;
        rollout.observe(number, tally_of(model, number), now_ns, actions);
        if (!comes_up || one->ready_ns == 0) continue;
        const bool was_adopted = std::any_of(runners_.begin(), runners_.end(), [&](const auto& runner) {
          return runner->model == model && runner->generation == number && runner->link->was_adopted();
        });
        if (!was_adopted) served.load_ns = now_ns - served.spawned_ns;
        if (number == rollout.routed()) tell(Reopened{live_line(model)});
      }
    }
    heed_judge(model, actions);
    rollout.tick(now_ns, actions);
    if (!actions.empty()) carry_out(model, std::move(actions));
  }
}

// What was told to end and has: nothing of it is left.
void Service::remove_ended_runners() {
  const auto is_over = [](const std::unique_ptr<Runner>& runner) {
    return runner->ending && runner->link->stopped() && runner->requests.empty() &&
           runner->link->supervision().status() == RunnerStatus::kStopped;
  };
  std::erase_if(runners_, is_over);
  for (auto& served : served_) {
    std::erase_if(served->settings, [&](const auto& one) {
      return one.first < served->rollout.next_number() && served->rollout.find(one.first) == nullptr;
    });
    std::erase_if(served->evidence,
                  [&](const auto& one) { return served->rollout.find(one.first) == nullptr; });
  }
}

std::vector<GenerationRow> Service::generations(const std::string& model_name) const {
  std::vector<GenerationRow> rows;
  const auto found = find_model(model_name);
  if (!found) return rows;
  const uint32_t model = *found;
  const uint64_t now_ns = monotonic_ns();
  const auto ago_s = [now_ns](uint64_t then_ns) {
    return then_ns == 0 ? -1.0 : static_cast<double>(now_ns - std::min(now_ns, then_ns)) * 1e-9;
  };
  for (const auto& one : served_[model]->rollout.history()) {
    auto& row = rows.emplace_back();
    row.generation = one.number;
    row.state = generation_state_name(one.state);
    row.path = one.path;
    row.reason = one.reason;
    row.evidence = evidence_of(model, one.number);
    row.begun_ago_s = ago_s(one.begun_ns);
    row.load_s = one.ready_ns == 0 ? 0 : static_cast<double>(one.ready_ns - one.begun_ns) * 1e-9;
    row.live_ago_s = ago_s(one.live_ns);
    row.ended_ago_s = ago_s(one.ended_ns);
    for (const auto& runner : runners_) {
      if (runner->model != model || runner->generation != one.number) continue;
      row.runners.push_back(runner->link->id());
      row.requests += static_cast<uint32_t>(runner->requests.size());
    }
  }
  return rows;
}

}  // namespace deepserve::daemon
