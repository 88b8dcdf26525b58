// Who goes to which runner, and when.
#include <algorithm>
#include <cmath>

#include "daemon/admission/admission.h"
#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

// What batch used fades within seconds, and a document is more than its share of many: at less than its share
// it gets about all of it.
constexpr double kDue = 0.7;
// Of the way from what one of two who come for their slots starts within to what nine of ten do: one that is
// begun and misses has cost others more than one that is sent away again.
constexpr double kBookedSure = 0.75;

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
    const double part = cached_part(request, i);
    load.uncached_tokens = uncached_tokens(request, i, part);
    const auto blocked = [&]() {
      if (is_paused(request)) return WaitReason::kBrownout;
      if (!models_[request.model].trial.may_take(i, runner.loads().size(), request.suspect)) {
        return WaitReason::kTrial;
      }
      if (!runner.takes_messages()) return WaitReason::kLane;
      if (!runner.has_seats(load, capped)) return WaitReason::kSeats;
      if (request.returned) return WaitReason::kNone;
      if (!runner.may_bind(load, now_ns) || runner.holds_up(load, now_ns)) return WaitReason::kPrefill;
      return runner.has_memory(load, headroom) ? WaitReason::kNone : WaitReason::kMemory;
    }();
    const double start_s = runner.start_seconds(load, now_ns);
    const bool fits = blocked == WaitReason::kNone;
    if (best.runner ? fits && is_better(runner, start_s, runners_[*best.runner], best.start_s)
                    : fits || best.blocked == WaitReason::kNoRunner || start_s < best.start_s) {
      best.start_s = start_s;
      best.cached_part = part;
      best.behind = runner.prefills_ahead(load);
      best.blocked = blocked;
      if (fits) best.runner = i;
    }
  }
  return best;
}

void Admission::pump(uint32_t model, uint64_t now_ns, AdmissionActions& actions) {
  while (true) {
    convene(model, now_ns);
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

// Where suspects are tried, if there are any.
void Admission::convene(uint32_t model, uint64_t now_ns) {
  auto& trial = models_[model].trial;
  std::vector<SuspectTrial::Candidate> candidates;
  for (uint32_t i = 0; trial.is_on() && i < runners_.size(); ++i) {
    const auto& runner = runners_[i];
    if (runner.is_up() && runner.model() == model) candidates.push_back({i, runner.loads().size()});
  }
  trial.convene(candidates, now_ns);
}

// An answer's end clears it as well.
void Admission::hear_suspect(ipc::RequestId id, Request& request, uint32_t tokens) {
  if (!request.suspect) return;
  request.trial_tokens += tokens;
  if (request.trial_tokens < SuspectTrial::kTokens * request.load.choices) return;
  request.suspect = false;
  models_[request.model].trial.clear(id);
}

// What has to be left of its deadline for it to be started.
double Admission::start_within_s(const Request& request) {
  const auto& start = request.start;
  // To refuse vip work on suspicion serves nobody.
  if (request.load.service_class == ipc::Class::kVip) return start.likely_s;
  // A promise is kept where it probably can be.
  if (request.booked) return (1 - kBookedSure) * start.likely_s + kBookedSure * start.stretched_s;
  return kStartMargin * start.stretched_s;
}

void Admission::dispatch(ipc::RequestId id, const Placement& placement, uint64_t now_ns,
                         AdmissionActions& actions) {
  auto& request = requests_.at(id);
  auto& model = models_[request.model];
  auto& runner = runners_[*placement.runner];
  const bool raised = is_due(request, now_ns);
  request.start = {};
  if (runner.service_time().known()) {
    request.start = model.ttft.on_dispatch(request.load.service_class, placement.start_s, placement.behind);
  }
  const auto start_ns = static_cast<uint64_t>(start_within_s(request) * 1e9);
  if (!request.accepted && !request.held && now_ns + start_ns > request.deadline_ns) {
    queue_.remove(id);
    auto taken = requests_.extract(id);
    return refuse(id, std::move(taken.mapped()), RefusalReason::kDeadline, now_ns, actions);
  }
  if (queue_.taken(id)) {
    request.charged_in = request.model;
    request.price = request.cost;
    model.usage.add(request.load.service_class, request.cost, now_ns);
  }
  request.dispatched_ns = now_ns;
  request.runner = *placement.runner;
  request.cached_part = placement.cached_part;
  request.load.uncached_tokens = uncached_tokens(request, *placement.runner, placement.cached_part);
  request.load.raised = raised;
  runner.add(request.load, now_ns);
  if (request.suspect) {
    request.trial_tokens = 0;
    model.trial.begin(id, *placement.runner);
  }
  actions.emplace_back(Dispatch{id, *placement.runner, capped_tokens(request), raised});
}

void Admission::leave_runner(Request& request) {
  if (request.runner) runners_[*request.runner].remove(request.load);
  request.runner.reset();
}

}  // namespace deepserve::daemon
