// The configuration changes while dsd runs: models come and go; of one that stays dsd's own keys count at
// once, those of its runners by a swap to another generation.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "daemon/config/model_change.h"
#include "daemon/serving/service.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

Result<void> Service::check_models(const Config& next) const {
  const auto conflict = [](const ModelConfig& model) {
    return fail(Code::kConflict, "model '{}': another order is being carried out", model.name);
  };
  size_t names = served_.size();
  for (const auto& settings : next.models) {
    const auto model = known_model(settings.name);
    if (!model) ++names;
    if (!model || !served_[*model]->configured || has_same_runners(served_[*model]->config, settings))
      continue;
    const auto& rollout = served_[*model]->rollout;
    if (rollout.busy() || rollout.trying()) return conflict(settings);
    if (rollout.routed() != 0) TRY(way_to_swap(*model, settings));
  }
  if (names > kModelsMax)
    return fail(Code::kNotSupported, "more than {} models since dsd was started: it takes a restart",
                kModelsMax);
  for (const auto& served : served_) {
    const bool stays = std::any_of(next.models.begin(), next.models.end(),
                                   [&](const auto& one) { return one.name == served->config.name; });
    const bool is_ordered = served->rollout.busy() || served->rollout.trying();
    if (served->configured && !stays && is_ordered) return conflict(served->config);
  }
  return {};
}

Service::Served& Service::add_model(const ModelConfig& config) {
  const auto free =
      std::find_if(served_.begin(), served_.end(), [](const auto& one) { return one->config.name.empty(); });
  auto& place = free != served_.end() ? *free : served_.emplace_back();
  place = std::make_unique<Served>(
      Served{.rollout = Rollout(config.name, config.keep_warm_ns), .config = config, .configured = false});
  return *place;
}

// Which are configured, and as what. Returns those that were not before.
std::vector<uint32_t> Service::follow_models() {
  std::vector<uint32_t> come;
  std::vector<bool> stay(served_.size(), false);
  for (const auto& config : config_.models) {
    const auto known = known_model(config.name);
    auto& served = known ? *served_[*known] : add_model(config);
    const bool was_there = known && served.configured;
    served.config = config;
    served.configured = true;
    served.rollout.set_keep_warm(config.keep_warm_ns);
    const uint32_t model = known_model(config.name).value();
    if (model < stay.size()) stay[model] = true;
    if (!was_there) come.push_back(model);
  }
  for (uint32_t model = 0; model < stay.size(); ++model) {
    auto& served = *served_[model];
    if (stay[model] || !std::exchange(served.configured, false)) continue;
    spdlog::info("model '{}' goes once its requests have ended", served.config.name);
  }
  admission_.reconfigure(admission_options());
  fallbacks_.reconfigure(fallbacks_of_models());
  return come;
}

void Service::reconfigure() {
  gpus_.configure(config_);
  const auto come = follow_models();
  for (auto& runner : runners_) runner->link->reconfigure(config_);
  for (const uint32_t model : come) begin_model(model);
  for (uint32_t model = 0; model < served_.size(); ++model) {
    if (served_[model]->configured) follow_configuration(model);
  }
  (void)keep_generations();
}

// It is loaded, if there is room for it; else the first request loads it.
void Service::begin_model(uint32_t model) {
  auto& served = *served_[model];
  drains_.mark_model(model, false);
  if (served.rollout.routed() != 0) return;  // it was about to go
  spdlog::info("model '{}' comes", served.config.name);
  served.used_ns = monotonic_ns();
  served.followed = served.config;
  if (served.rollout.previous() != 0)
    served.settings.insert_or_assign(served.rollout.previous(), served.config);
  const bool is_ending = !served.rollout.absent();
  served.on_demand = is_ending || !has_room_beside_others(model);
  if (is_ending) return demand(model);
  if (served.on_demand) return;
  served.settings.insert_or_assign(served.rollout.next_number(), served.config);
  RolloutActions actions;
  served.rollout.start(served.config.path, monotonic_ns(), actions);
  carry_out(model, std::move(actions));
}

// Often. A model that goes does once nobody has a request there, or can have.
void Service::let_leave(uint32_t model) {
  auto& served = *served_[model];
  auto& rollout = served.rollout;
  if (served.configured || rollout.busy() || may_hear_of_more()) return;
  if (rollout.absent() && !served.on_demand) return;
  const bool is_wanted = std::any_of(records_.begin(), records_.end(),
                                     [model](const auto& one) { return one.second->model == model; });
  const bool is_asked = std::any_of(queries_.begin(), queries_.end(), [model](const auto& one) {
    return one.second.runner != nullptr && one.second.runner->model == model;
  });
  if (is_wanted || is_asked) return;
  served.on_demand = served.wanted = served.demanded = false;
  RolloutActions actions;
  if (rollout.trying()) (void)rollout.reject("its model goes", monotonic_ns(), actions);
  if (rollout.routed() != 0) {
    const auto unloaded = rollout.unload("it is configured no longer", monotonic_ns(), actions);
    CHECK(unloaded);
    served.order = "unload";
  }
  carry_out(model, std::move(actions));
}

// Also of a dsd that comes anew: the file may have changed since its runners were started.
void Service::follow_configuration(uint32_t model) {
  auto& served = *served_[model];
  auto& rollout = served.rollout;
  const ModelConfig& settings = served.config;
  if (has_same_runners(served.followed, settings) || rollout.busy() || rollout.trying()) return;
  served.followed = settings;
  if (rollout.routed() == 0) {
    if (rollout.previous() != 0) served.settings.insert_or_assign(rollout.previous(), settings);
    (void)keep_generations();
    return;
  }
  const auto way = way_to_swap(model, settings);
  const uint32_t number = rollout.next_number();
  RolloutActions actions;
  const auto begun = way ? rollout.swap(settings.path, *way, monotonic_ns(), actions)
                         : Result<void>(tl::unexpected<Error>(way.error()));
  if (!begun) {
    spdlog::error("model '{}' stays as it was configured before: {}", settings.name, begun.error().message);
    return;
  }
  spdlog::info("model '{}' is swapped for what its configuration says now", settings.name);
  served.settings.insert_or_assign(number, settings);
  served.order = "swap";
  carry_out(model, std::move(actions));
}

}  // namespace deepserve::daemon
