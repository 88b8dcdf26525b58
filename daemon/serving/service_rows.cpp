// What can be seen of the service from outside.
#include <algorithm>

#include "daemon/serving/service.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

double seconds_since(uint64_t then_ns, uint64_t now_ns) {
  return then_ns == 0 || now_ns < then_ns ? 0.0 : static_cast<double>(now_ns - then_ns) * 1e-9;
}

// "ready" when any runner is, else "loading" when any may become so, else "failed".
std::string model_state(bool any_ready, bool any_may) {
  return any_ready ? "ready" : any_may ? "loading" : "failed";
}

}  // namespace

std::vector<ModelRow> Service::models() const {
  std::vector<ModelRow> rows;
  for (const auto& model : config_.models) rows.push_back(row_of_model(find_model(model.name).value()));
  for (uint32_t model = 0; model < served_.size(); ++model) {
    const bool is_gone = served_[model]->rollout.absent() && served_[model]->rollout.settled();
    if (!served_[model]->configured && !is_gone) rows.push_back(row_of_model(model));
  }
  return rows;
}

ModelRow Service::row_of_model(uint32_t model) const {
  const auto& served = *served_[model];
  const auto& rollout = served.rollout;
  const auto* serves = rollout.find(rollout.routed());
  ModelRow row;
  row.name = served.config.name;
  row.aliases = served.config.aliases;
  row.path = serves == nullptr ? served.config.path : serves->path;
  row.generation = rollout.routed();
  row.canary_percent = rollout.canary_percent();
  row.shadow_percent = rollout.shadow_percent();
  (row.shadow_percent > 0 ? row.shadow : row.canary) = rollout.canary_number();
  row.rollout = served.order;
  row.created_unix = started_unix_;
  for (const auto& runner : runners_) {
    if (runner->model != model) continue;
    row.runners.push_back(runner->link->id());
    const bool serves_live = runner->routed && runner->line == live_line(model);
    if (!runner->link->is_ready() || !serves_live || row.facts) continue;
    row.facts = runner->link->facts();
    row.bytes = row.facts->weight_bytes;
  }
  const auto& breaker = fallbacks_.breaker(model);
  row.breaker = breaker_state_name(breaker.last_state());
  row.breaker_opened_total = breaker.opened_total();
  row.state = rollout.absent() ? "unloaded" : model_state(row.facts.has_value(), model_may_serve(model));
  if (row.state == "ready" && !drains_.takes(model)) row.state = "draining";
  row.leaves = !served.configured;
  if (row.leaves) row.state = "leaving";
  return row;
}

std::vector<RunnerRow> Service::runners() const {
  const uint64_t now_ns = monotonic_ns();
  std::vector<RunnerRow> rows;
  for (const auto& runner : runners_) {
    const auto& link = *runner->link;
    const auto& supervision = link.supervision();
    auto& row = rows.emplace_back();
    row.id = link.id();
    row.pid = link.pid();
    row.device = devices_text(link.devices());
    for (uint32_t rank = 0; rank < link.devices().size(); ++rank)
      row.ranks.push_back(row_of_rank(link, rank));
    row.gpus = gpus_of(link);
    row.model = link.model().name;
    row.generation = runner->generation;
    row.state = link.state_name();
    if (row.state == "ready" && drains_.runner(row.id)) row.state = "draining";
    row.restarts = supervision.restarts();
    row.uptime_s = link.pid() < 0 ? 0.0 : seconds_since(link.started_ns(), now_ns);
    row.last_error = supervision.last_error();
    row.steps = link.progress().steps;
    row.bytes_loaded = link.progress().bytes_loaded;
    row.requests = static_cast<uint32_t>(runner->requests.size());
    row.gauges = link.gauges();
    if (link.is_ready()) row.facts = link.facts();
  }
  return rows;
}

RankRow Service::row_of_rank(const RunnerLink& link, uint32_t rank) const {
  const DeviceConfig& device = link.devices()[rank];
  RankRow row{rank, link.pid_of(rank), device.name};
  if (!device.is_gpu()) return row;
  row.gpu = device.gpu;
  row.thread_percent = device.thread_percent;
  row.sharing = gpus_.state_name(device);
  row.mps_pid = gpus_.mps_pid(device);
  return row;
}

std::vector<GpuState> Service::gpus_of(const RunnerLink& link) const {
  std::vector<GpuState> gpus;
  for (const auto& device : link.devices()) {
    const GpuState* gpu =
        device.is_gpu() && options_.gpus != nullptr ? options_.gpus->named(device.gpu) : nullptr;
    const bool is_new = gpu != nullptr && std::none_of(gpus.begin(), gpus.end(), [gpu](const auto& other) {
                          return other.identity.index == gpu->identity.index;
                        });
    if (is_new) gpus.push_back(*gpu);
  }
  return gpus;
}

RequestRow Service::row_of(const Record& record, uint64_t now_ns) const {
  RequestRow row;
  row.id = record.id;
  row.state = request_state_name(record.state);
  row.client = record.spec.client;
  row.peer = record.spec.peer;
  row.service_class = record.spec.service_class;
  row.model = served_[record.model]->config.name;
  if (record.runner != nullptr) row.runner = record.runner->link->id();
  row.endpoint = record.spec.endpoint;
  row.age_s = seconds_since(record.started_ns, now_ns);
  row.prompt_tokens = record.progress.prompt_tokens();
  row.generated_tokens = record.progress.generated_tokens();
  const auto view = admission_.view(record.id);
  if (!view) return row;
  row.booked = view->booked;
  row.deadline_in_s = (static_cast<double>(view->deadline_ns) - static_cast<double>(now_ns)) * 1e-9;
  row.predicted_ttft_s = static_cast<double>(view->predicted_ttft_ns) * 1e-9;
  row.cost_s = view->cost;
  row.expected_tokens = view->expected_tokens;
  if (record.state != RequestState::kQueued) return row;
  row.waits_for = wait_reason_name(view->waits_for);
  row.ahead_s = view->cost_ahead;
  return row;
}

std::vector<ClientRow> Service::clients() const {
  constexpr size_t kRowsMax = 1'000;
  const uint64_t now_ns = monotonic_ns();
  std::vector<ClientRow> rows;
  for (const ClientUse& use : admission_.clients().recent(kRowsMax)) {
    auto& row = rows.emplace_back();
    row.client = use.client;
    row.running = use.running;
    row.tokens_left = use.tokens_left;
    row.recent_requests = use.requests;
    row.recent_retries = use.retries;
    row.denied_total = use.denied_total;
    row.seen_s = seconds_since(use.seen_ns, now_ns);
    // An end user has the limits of his proxy.
    const std::string_view name = std::string_view(use.client).substr(0, use.client.find('#'));
    for (const auto& client : config_.clients) {
      if (client.name != name) continue;
      row.concurrent_max = client.concurrent_max;
      row.tokens_per_minute = client.tokens_per_minute;
    }
  }
  return rows;
}

std::vector<RequestRow> Service::requests() const {
  const uint64_t now_ns = monotonic_ns();
  std::vector<RequestRow> rows;
  for (const auto& [id, record] : records_) rows.push_back(row_of(*record, now_ns));
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return rows;
}

std::optional<RequestRow> Service::request(RequestId id) const {
  const auto found = records_.find(id);
  if (found == records_.end()) return std::nullopt;
  return row_of(*found->second, monotonic_ns());
}

QueueCounts Service::counts() const {
  QueueCounts counts;
  for (size_t i = 0; i < kClasses; ++i) counts.waiting[i] = admission_.waiting(static_cast<ipc::Class>(i));
  for (const auto& runner : runners_) counts.running += static_cast<uint32_t>(runner->requests.size());
  counts.brownout_level = static_cast<uint32_t>(admission_.brownout());
  counts.brownout = brownout_level_name(admission_.brownout());
  counts.draining = drains_.host();
  return counts;
}

std::vector<GpuState> Service::gpus() const {
  return options_.gpus == nullptr ? std::vector<GpuState>() : options_.gpus->gpus();
}

bool Service::ready() const {
  const uint64_t now_ns = monotonic_ns();
  return !stopping_ && !drains_.host() &&
         std::any_of(runners_.begin(), runners_.end(),
                     [now_ns](const auto& runner) { return runner->link->makes_progress(now_ns); });
}

}  // namespace deepserve::daemon
