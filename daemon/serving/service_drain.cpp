// Drain and resume of a runner, a model, the host; what resets a GPU, and what drains it.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "daemon/serving/service.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

std::string drain_target_text(const DrainTarget& target) {
  switch (target.what) {
    case DrainTarget::What::kHost:
      return "the host";
    case DrainTarget::What::kModel:
      return "model '" + target.name + "'";
    case DrainTarget::What::kRunner:
      return "runner '" + target.name + "'";
  }
  return "";
}

Result<void> Service::check_target(const DrainTarget& target) const {
  if (target.what == DrainTarget::What::kModel && !find_model(target.name)) {
    return fail(Code::kModelNotFound, "there is no {}", drain_target_text(target));
  }
  if (target.what == DrainTarget::What::kRunner && find_runner(target.name) == nullptr) {
    std::vector<std::string> ids;
    for (const auto& runner : runners_) ids.push_back(runner->link->id());
    return fail(Code::kNotFound, "there is no {}; there are: {}", drain_target_text(target),
                fmt::join(ids, ", "));
  }
  if (stopping_) return fail(Code::kShuttingDown, "the server is shutting down");
  return {};
}

const Service::Runner* Service::find_runner(const std::string& id) const {
  const auto found = std::find_if(runners_.begin(), runners_.end(),
                                  [&id](const auto& runner) { return runner->link->id() == id; });
  return found == runners_.end() ? nullptr : found->get();
}

// Of a drain of a model that there is, or was when the drain began.
uint32_t Service::model_of(const DrainTarget& target) const {
  const auto configured = find_model(target.name);
  return configured ? *configured : known_model(target.name).value();
}

void Service::mark(const DrainTarget& target, bool drained) {
  switch (target.what) {
    case DrainTarget::What::kHost:
      return drains_.mark_host(drained);
    case DrainTarget::What::kModel:
      return drains_.mark_model(model_of(target), drained);
    case DrainTarget::What::kRunner:
      return drains_.mark_runner(target.name, drained);
  }
}

bool Service::is_marked(const DrainTarget& target) const {
  switch (target.what) {
    case DrainTarget::What::kHost:
      return drains_.host();
    case DrainTarget::What::kModel:
      return drains_.model(model_of(target));
    case DrainTarget::What::kRunner:
      return drains_.runner(target.name);
  }
  return false;
}

bool Service::is_empty(const DrainTarget& target) const {
  if (target.what == DrainTarget::What::kRunner) {
    const auto* runner = find_runner(target.name);
    return runner == nullptr || runner->requests.empty();
  }
  if (target.what == DrainTarget::What::kHost) return records_.empty();
  const uint32_t model = model_of(target);
  return std::none_of(records_.begin(), records_.end(),
                      [model](const auto& entry) { return entry.second->model == model; });
}

void Service::drain(const DrainTarget& target, DrainDone done) {
  if (auto known = check_target(target); !known) {
    loop_.defer([done = std::move(done), known = std::move(known)] { done(known); });
    return;
  }
  if (!is_marked(target)) spdlog::warn("{} is drained by an operator", drain_target_text(target));
  mark(target, true);
  drain_waiters_.push_back({target, std::move(done)});
}

Result<void> Service::resume(const DrainTarget& target) {
  TRY(check_target(target));
  if (is_marked(target)) spdlog::warn("{} is resumed by an operator", drain_target_text(target));
  mark(target, false);
  return {};
}

// Who waits for a drain hears when nothing is left there, or that it was resumed.
void Service::answer_drains() {
  if (drain_waiters_.empty()) return;
  for (auto& waiter : std::exchange(drain_waiters_, {})) {
    const bool resumed = !is_marked(waiter.target);
    if (!resumed && !is_empty(waiter.target)) {
      drain_waiters_.push_back(std::move(waiter));
      continue;
    }
    Result<void> outcome;
    if (resumed) outcome = fail(Code::kConflict, "{} was resumed", drain_target_text(waiter.target));
    loop_.defer([done = std::move(waiter.done), outcome = std::move(outcome)] { done(outcome); });
  }
}

std::optional<Refusal> Service::drained_refusal(uint32_t model, ipc::Class service_class) const {
  if (drains_.takes(model)) return std::nullopt;
  const std::string what =
      drains_.host() ? "the server" : fmt::format("model '{}'", served_[model]->config.name);
  const auto code = drains_.host() ? Code::kShuttingDown : Code::kModelNotReady;
  return Refusal{{code, what + " takes no new requests at present: it is drained by its operator"},
                 Admission::kRetryAfterMin_ms,
                 "draining",
                 service_class};
}

void Service::reset_runner(const std::string& id, std::function<void(Result<void>)> done) {
  const auto* runner = find_runner(id);
  if (runner != nullptr && !stopping_) {
    if (gpus_.reset(runner->link->devices())) restart_neighbours(*runner);
    const auto status = runner->link->supervision().status();
    if (status != RunnerStatus::kFailed && status != RunnerStatus::kBackoff) {
      return loop_.defer([done = std::move(done)] { done({}); });
    }
  }
  restart_runner(id, std::move(done));
}

// The others that its GPU's fault has kept from starting.
void Service::restart_neighbours(const Runner& reset) {
  for (auto& runner : runners_) {
    const auto& link = *runner->link;
    if (runner.get() == &reset || link.supervision().status() != RunnerStatus::kFailed) continue;
    const bool is_neighbour =
        link.supervision().last_reason() == "device" &&
        std::any_of(link.devices().begin(), link.devices().end(),
                    [&](const auto& device) { return device.is_gpu() && reset.link->is_on_gpu(device.gpu); });
    if (is_neighbour) runner->link->restart([](const auto&) {});
  }
}

void Service::on_xid(const XidEvent& event) {
  std::set<std::string> names;
  for (const auto& device : config_.devices) {
    const GpuState* gpu =
        device.is_gpu() && options_.gpus != nullptr ? options_.gpus->named(device.gpu) : nullptr;
    if (gpu != nullptr && gpu->identity.index == event.gpu) names.insert(device.gpu);
  }
  for (const auto& name : names)
    gpus_.on_xid(name, static_cast<uint32_t>(std::min<uint64_t>(event.xid, ~uint32_t{0})));
}

}  // namespace deepserve::daemon
