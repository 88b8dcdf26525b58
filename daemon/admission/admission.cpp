#include "daemon/admission/admission.h"

#include <algorithm>

#include "daemon/dispatch/runner_choice.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(WaitReason::kCount)> kWaitReasons = {
    "none", "no_runner", "ahead", "seats", "lane"};
static_assert(!kWaitReasons.back().empty());

ClassQueue::Limits limits_of(const AdmissionOptions& options) {
  ClassQueue::Limits limits;
  for (size_t i = 0; i < limits.size(); ++i) {
    limits[i] = {options.classes[i].share, options.classes[i].waiting_max};
  }
  return limits;
}

size_t index_of(ipc::Class service_class) {
  return static_cast<size_t>(service_class);
}

}  // namespace

std::string_view wait_reason_name(WaitReason value) {
  return kWaitReasons.at(static_cast<size_t>(value));
}

Admission::Admission(const AdmissionOptions& options)
    : options_(options),
      queue_(limits_of(options), options.models, options.bytes_max),
      runners_(options.runners) {}

uint64_t Admission::advance(uint64_t now_ns) {
  now_ns_ = std::max(now_ns_, now_ns);
  return now_ns_;
}

void Admission::step(const Arrived& event, uint64_t now_ns, AdmissionActions& actions) {
  CHECK(event.model < options_.models && event.choices > 0 && !requests_.contains(event.request));
  now_ns = advance(now_ns);
  const auto& of_class = options_.classes[index_of(event.service_class)];
  Request request;
  request.service_class = event.service_class;
  request.model = event.model;
  request.client = event.client;
  request.client_weight = event.client_weight;
  request.choices = event.choices;
  request.tokens_max = event.tokens_max;
  request.bytes = event.bytes;
  request.arrived_ns = now_ns;
  request.deadline_ns = event.deadline_ns != 0 ? event.deadline_ns : now_ns + of_class.deadline_ns;
  const bool queued = queue_.push(waiting_of(event.request, request, request.deadline_ns));
  requests_.emplace(event.request, std::move(request));
  if (!queued) return refuse(event.request, RefusalReason::kQueueFull, now_ns, actions);
  shed_expired(now_ns, actions);
  pump(event.model, actions);
}

void Admission::step(const Accepted& /*event*/, uint64_t now_ns, AdmissionActions& /*actions*/) {
  advance(now_ns);
}

void Admission::step(const FirstToken& /*event*/, uint64_t now_ns, AdmissionActions& /*actions*/) {
  advance(now_ns);
}

void Admission::step(const TokensCame& /*event*/, uint64_t now_ns, AdmissionActions& /*actions*/) {
  advance(now_ns);
}

void Admission::step(const Ended& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  const auto found = requests_.find(event.request);
  CHECK(found != requests_.end());
  const uint32_t model = found->second.model;
  if (event.how == EndKind::kFinished) rate_.count(now_ns);
  queue_.remove(event.request);
  leave_runner(found->second);
  requests_.erase(found);
  shed_expired(now_ns, actions);
  pump(model, actions);
}

void Admission::step(const Returned& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  auto& request = requests_.at(event.request);
  CHECK(request.runner);
  leave_runner(request);
  queue_.push_replay(waiting_of(event.request, request, event.accepted ? 0 : request.deadline_ns));
  shed_expired(now_ns, actions);
  pump(request.model, actions);
}

void Admission::step(const RunnerUp& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  auto& runner = runners_.at(event.runner);
  runner.up = runner.has_room = true;
  runner.model = event.model;
  runner.capacity = event.capacity;
  runner.gauges = {};
  runner.gauges.kv_blocks_free = runner.gauges.kv_blocks_total = event.capacity.kv_blocks;
  pump(event.model, actions);
}

void Admission::step(const RunnerTold& event, uint64_t now_ns, AdmissionActions& actions) {
  advance(now_ns);
  auto& runner = runners_.at(event.runner);
  runner.gauges = event.gauges;
  runner.has_room = event.has_room;
  if (runner.up) pump(runner.model, actions);
}

void Admission::step(const RunnerDown& event, uint64_t now_ns, AdmissionActions& /*actions*/) {
  advance(now_ns);
  runners_.at(event.runner).up = false;
}

void Admission::step(const Tick& /*event*/, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  shed_expired(now_ns, actions);
  for (uint32_t model = 0; model < options_.models; ++model) pump(model, actions);
}

void Admission::shed_expired(uint64_t now_ns, AdmissionActions& actions) {
  for (const auto id : queue_.take_expired(now_ns)) refuse(id, RefusalReason::kDeadline, now_ns, actions);
}

void Admission::pump(uint32_t model, AdmissionActions& actions) {
  for (auto id = queue_.next(model); id != 0; id = queue_.next(model)) {
    auto& request = requests_.at(id);
    const auto chosen = choose(request);
    if (!chosen) return;
    queue_.taken(id);
    request.runner = *chosen;
    runners_[*chosen].sequences += request.choices;
    actions.emplace_back(Dispatch{id, *chosen, request.tokens_max});
  }
}

std::optional<uint32_t> Admission::choose(const Request& request) const {
  std::vector<RunnerLoad> loads;
  for (const auto& runner : runners_) {
    auto& load = loads.emplace_back();
    load.ready = runner.up && runner.model == request.model;
    load.outbox_full = !runner.has_room;
    load.sequences = runner.sequences;
    load.sequences_max = runner.capacity.sequences_max;
    load.kv_blocks_free = runner.gauges.kv_blocks_free;
  }
  const auto chosen = choose_runner(loads, request.choices);
  if (!chosen) return std::nullopt;
  return static_cast<uint32_t>(*chosen);
}

void Admission::leave_runner(Request& request) {
  if (request.runner) runners_[*request.runner].sequences -= request.choices;
  request.runner.reset();
}

void Admission::refuse(ipc::RequestId id, RefusalReason reason, uint64_t now_ns, AdmissionActions& actions) {
  const auto found = requests_.find(id);
  CHECK(found != requests_.end() && !found->second.runner);
  const auto& request = found->second;
  Refuse refusal;
  refusal.request = id;
  refusal.reason = reason;
  refusal.service_class = request.service_class;
  refusal.deadline_ns =
      request.deadline_ns > request.arrived_ns ? request.deadline_ns - request.arrived_ns : 0;
  refusal.retry_after_ms = rate_.retry_after_ms(queue_.waiting_total() + 1, now_ns);
  requests_.erase(found);
  actions.emplace_back(std::move(refusal));
}

WaitingRequest Admission::waiting_of(ipc::RequestId id, const Request& request, uint64_t deadline_ns) const {
  return {id,          request.service_class, request.model, request.client, request.client_weight,
          deadline_ns, request.bytes};
}

std::vector<ipc::RequestId> Admission::waiting_for(uint32_t model) const {
  std::vector<ipc::RequestId> ids;
  for (const auto& [id, request] : requests_) {
    if (request.model == model && !request.runner) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::optional<RequestView> Admission::view(ipc::RequestId id) const {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return std::nullopt;
  const auto& request = found->second;
  RequestView view;
  view.request = id;
  view.service_class = request.service_class;
  view.model = request.model;
  view.client = request.client;
  view.runner = request.runner;
  view.arrived_ns = request.arrived_ns;
  view.deadline_ns = request.deadline_ns;
  if (request.runner) return view;
  const bool any_up = std::any_of(runners_.begin(), runners_.end(), [&](const Runner& runner) {
    return runner.up && runner.model == request.model;
  });
  const bool is_next = queue_.next(request.model) == id;
  view.waits_for = !any_up ? WaitReason::kNoRunner : is_next ? WaitReason::kSeats : WaitReason::kAhead;
  return view;
}

}  // namespace deepserve::daemon
