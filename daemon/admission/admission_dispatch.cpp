// Who goes to which runner, and when.
#include <algorithm>
#include <cmath>

#include "daemon/admission/admission.h"
#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

// What batch used fades within seconds, and a document is more than its share of many: at half of the share
// it gets about all of it.
constexpr double kDue = 0.5;
// What is begun and comes too late is work for nothing: one in ten of those at the edge is too many.
constexpr double kMargin = 1.1;

// The smaller part of its seats taken decides between runners that would be as soon.
bool is_better(const RunnerBook& a, double a_start_s, const RunnerBook& b, double b_start_s) {
  constexpr double kSame_s = 1e-4;
  if (std::abs(a_start_s - b_start_s) > kSame_s) return a_start_s < b_start_s;
  return uint64_t{a.sequences()} * b.sequences_max() < uint64_t{b.sequences()} * a.sequences_max();
}

}  // namespace

bool Admission::vip_present(const Model& model, uint64_t now_ns) const {
  return model.usage.seen_within(ipc::Class::kVip, kVipPresent_s, now_ns);
}

double Admission::runners_of(uint32_t model) const {
  return static_cast<double>(std::count_if(runners_.begin(), runners_.end(), [&](const RunnerBook& runner) {
    return runner.is_up() && runner.model() == model;
  }));
}

// A runner gives batch next to nothing while normal work keeps coming: what batch is guaranteed goes there as
// normal work.
bool Admission::is_due(const Request& request, uint64_t now_ns) const {
  if (request.load.service_class != ipc::Class::kBatch) return false;
  const auto& model = models_[request.model];
  const double runners = runners_of(request.model);
  const double guaranteed = options_.classes[static_cast<size_t>(ipc::Class::kBatch)].share;
  const double done = model.throughput.per_runner(runners) * runners;
  return model.usage.per_second(ipc::Class::kBatch, now_ns) < kDue * guaranteed * done;
}

// Where its first token would come first, of the runners that have room for it.
Admission::Placement Admission::place(const Request& request, uint64_t now_ns) const {
  auto load = request.load;
  load.raised = is_due(request, now_ns);
  const bool capped = vip_present(models_[request.model], now_ns);
  const double headroom = options_.kv_headroom[static_cast<size_t>(load.runner_class())];
  Placement best;
  for (uint32_t i = 0; i < runners_.size(); ++i) {
    const auto& runner = runners_[i];
    if (!runner.is_up() || runner.model() != request.model) continue;
    const auto blocked = [&]() {
      if (is_paused(request)) return WaitReason::kBrownout;
      if (!runner.takes_messages()) return WaitReason::kLane;
      if (!runner.has_seats(load, capped)) return WaitReason::kSeats;
      if (request.returned) return WaitReason::kNone;
      if (!runner.may_bind(load, now_ns)) return WaitReason::kPrefill;
      return runner.has_memory(load, headroom) ? WaitReason::kNone : WaitReason::kMemory;
    }();
    const double start_s = runner.start_seconds(load, now_ns);
    const bool fits = blocked == WaitReason::kNone;
    if (best.runner ? fits && is_better(runner, start_s, runners_[*best.runner], best.start_s)
                    : fits || best.blocked == WaitReason::kNoRunner || start_s < best.start_s) {
      best.start_s = start_s;
      best.blocked = blocked;
      if (fits) best.runner = i;
    }
  }
  return best;
}

void Admission::pump(uint32_t model, uint64_t now_ns, AdmissionActions& actions) {
  while (true) {
    Placement placement;
    const auto id = queue_.next_that(model, [&](ipc::RequestId one) {
      placement = place(requests_.at(one), now_ns);
      return placement.runner.has_value();
    });
    if (id == 0) break;
    dispatch(id, placement, now_ns, actions);
  }
  models_[model].throughput.set_waits(queue_.waits_for(model), now_ns);
}

void Admission::dispatch(ipc::RequestId id, const Placement& placement, uint64_t now_ns,
                         AdmissionActions& actions) {
  auto& request = requests_.at(id);
  auto& model = models_[request.model];
  auto& runner = runners_[*placement.runner];
  const bool raised = is_due(request, now_ns);
  request.start = {};
  if (runner.service_time().known()) {
    request.start = model.ttft.on_dispatch(request.load.service_class, placement.start_s);
  }
  // To refuse vip work on suspicion serves nobody: nothing that it would hold up counts as much.
  const bool is_vip = request.load.service_class == ipc::Class::kVip;
  const double margin = request.booked ? 1.0 : kMargin;
  const double start_s = is_vip ? request.start.likely_s : margin * request.start.stretched_s;
  const auto start_ns = static_cast<uint64_t>(start_s * 1e9);
  if (!request.accepted && now_ns + start_ns > request.deadline_ns) {
    queue_.remove(id);
    auto taken = requests_.extract(id);
    return refuse(id, std::move(taken.mapped()), RefusalReason::kDeadline, now_ns, actions);
  }
  if (queue_.taken(id)) {
    request.charged = true;
    request.price = request.cost;
    model.usage.add(request.load.service_class, request.cost, now_ns);
  }
  request.dispatched_ns = now_ns;
  request.runner = *placement.runner;
  request.load.raised = raised;
  runner.add(request.load, now_ns);
  actions.emplace_back(Dispatch{id, *placement.runner, capped_tokens(request), raised});
}

void Admission::leave_runner(Request& request) {
  if (request.runner) runners_[*request.runner].remove(request.load);
  request.runner.reset();
}

}  // namespace deepserve::daemon
