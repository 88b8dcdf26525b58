// Another life of dsd: the generations that the last one left, with their runners.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "daemon/config/model_change.h"
#include "daemon/serving/generation_file.h"
#include "daemon/serving/service.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

// Each has the place that it had: bookings and tickets name it by that.
void Service::place_models(const std::vector<KeptModel>& models) {
  for (const auto& kept : models) {
    if (kept.slot >= kModelsMax || known_model(kept.model)) continue;
    while (served_.size() <= kept.slot)
      served_.push_back(std::make_unique<Served>(Served{.rollout = Rollout("", 0), .configured = false}));
    auto& place = served_[kept.slot];
    if (!place->config.name.empty()) continue;
    ModelConfig config;
    config.name = kept.model;
    take_runner_keys(kept.configured, config);
    place = std::make_unique<Served>(
        Served{.rollout = Rollout(kept.model, 0), .config = std::move(config), .configured = false});
  }
}

// Their runners are made and not started: they are adopted, or begin_runners() starts those that serve. What
// is configured no longer serves what it has.
void Service::begin_generations() {
  const auto kept = options_.generations_file.empty() ? std::vector<KeptModel>()
                                                      : read_generations(options_.generations_file);
  restored_ns_ = monotonic_ns();
  place_models(kept);
  follow_models();
  for (uint32_t model = 0; model < served_.size(); ++model) {
    served_[model]->used_ns = monotonic_ns();
    if (!restore_generations(model, kept) && served_[model]->configured) begin_model(model);
  }
}

// False: it begins as the configuration says.
bool Service::restore_generations(uint32_t model, const std::vector<KeptModel>& models) {
  auto& served = *served_[model];
  const auto& settings = served.config;
  const auto kept = std::find_if(models.begin(), models.end(), [&](const KeptModel& one) {
    return one.model == settings.name && !one.rollout.history.empty();
  });
  if (kept == models.end()) return false;
  served.rollout.restore(kept->rollout, restored_ns_);
  served.on_demand = kept->on_demand;
  for (const uint64_t pause_ns : kept->pauses_ns) served.pauses.add(pause_ns);
  const auto as_left = [&settings](const ModelConfig& runner_keys) {
    ModelConfig whole = settings;
    take_runner_keys(runner_keys, whole);
    return whole;
  };
  served.followed = as_left(kept->configured);
  for (const auto& one : served.rollout.history())
    served.settings.emplace(one.number, as_left(kept->settings.at(one.number)));
  for (const auto& one : served.rollout.history()) {
    const auto& runners = kept->runners.at(one.number);
    const bool serves = one.number == served.rollout.routed() || one.number == served.rollout.canary_number();
    if (!serves && (runners.empty() || generation_is_over(one.state))) continue;
    spdlog::info("model '{}': generation {} from {} was left by an earlier daemon{}", settings.name,
                 one.number, one.path, serves ? " and serves on" : "");
    spawn_generation(model, one.number, runners);
  }
  if (served.rollout.busy()) served.order = "swap";
  if (served.rollout.trying()) {
    served.judge.emplace();
    if (served.rollout.shadow_percent() > 0) served.shadow.emplace();
    served.judged = kept->judged;
    served.tried = served.rollout.canary_number();
    route_canary(model, served.tried);
  }
  // One that was gone, and is configured again.
  return !(kept->leaves && served.rollout.absent());
}

bool Service::may_hear_of_more() const {
  if (adoption_ == nullptr) return false;
  if (!adoption_->over()) return true;
  if (monotonic_ns() - restored_ns_ >= kReturnMax_ns) return false;
  return std::any_of(runners_.begin(), runners_.end(),
                     [](const auto& runner) { return runner->link->tells_again(); });
}

// Nobody would start what only was to end, or to be gone back to: it is gone if it was not adopted.
bool Service::is_wanted(const Runner& runner) const {
  const auto& rollout = served_[runner.model]->rollout;
  return !runner.ending &&
         (runner.generation == rollout.routed() || runner.generation == rollout.canary_number());
}

// Of what is warm all runners are needed, of what drains those that are there.
void Service::forget_what_is_gone() {
  for (uint32_t model = 0; model < served_.size(); ++model) {
    auto& rollout = served_[model]->rollout;
    std::set<uint32_t> there, gone;
    for (const auto& runner : runners_) {
      if (runner->model == model) (runner->ending ? gone : there).insert(runner->generation);
    }
    RolloutActions actions;
    if (gone.contains(rollout.warm())) rollout.drop_warm(monotonic_ns(), actions);
    for (const uint32_t number : gone) {
      if (!there.contains(number)) rollout.observe(number, {.gone = true}, monotonic_ns(), actions);
    }
    carry_out(model, std::move(actions));
  }
}

// kIo: a dsd that comes after a death of this one goes on with what was kept before.
Result<void> Service::keep_generations() {
  if (options_.generations_file.empty() || !begun_ || stopping_) return {};
  std::vector<KeptModel> kept;
  for (uint32_t model = 0; model < served_.size(); ++model) {
    const auto& served = *served_[model];
    if (served.config.name.empty()) continue;
    KeptModel one{.model = served.config.name,
                  .slot = model,
                  .configured = served.followed,
                  .leaves = !served.configured,
                  .on_demand = served.on_demand,
                  .judged = served.judged,
                  .pauses_ns = {served.pauses.pauses_ns().begin(), served.pauses.pauses_ns().end()},
                  .rollout = served.rollout.record(),
                  .settings = served.settings,
                  .runners = {}};
    for (const auto& runner : runners_) {
      if (runner->model == model && !runner->ending)
        one.runners[runner->generation].push_back(runner->link->id());
    }
    kept.push_back(std::move(one));
  }
  auto written = write_generations(options_.generations_file, kept);
  if (!written && generations_kept_)
    spdlog::error("the next daemon will not know of its models' generations: {}", written.error().message);
  generations_kept_ = written.has_value();
  return written;
}

// After a stop that was asked for the configuration alone counts.
void Service::forget_generations() const {
  if (!options_.generations_file.empty()) ::unlink(options_.generations_file.c_str());
}

}  // namespace deepserve::daemon
