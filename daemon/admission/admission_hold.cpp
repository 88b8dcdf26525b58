// A model that nobody serves for a while, because what takes its runner's place is still to be loaded: who
// can wait for it, and who is better told at once.
#include <algorithm>

#include "daemon/admission/admission.h"
#include "ipc/base/check.h"

namespace deepserve::daemon {

// Until it is served again; 0: it is not held. A hold that takes longer than it was said to lasts a little at
// any time.
double Admission::held_seconds(uint32_t model, uint64_t now_ns) const {
  constexpr uint64_t kOverdue_ns = kSecond_ns / 10;
  const uint64_t opens_ns = models_[model].opens_ns;
  if (opens_ns == 0) return 0;
  return static_cast<double>(std::max(opens_ns, now_ns + kOverdue_ns) - now_ns) * 1e-9;
}

// Until the last of those that run at this model's runners has ended, if all get as long as they are expected
// to.
double Admission::drain_seconds(uint32_t model) const {
  double most_s = 0;
  for (const auto& runner : runners_) {
    if (runner.model() != model) continue;
    const double step_s = runner.service_time().step_seconds(runner.sequences(), runner.context_tokens());
    double prefill_s = 0;
    for (const auto* load : runner.loads()) {
      const uint32_t each = load->generated_each();
      const double steps = load->expected_tokens > each ? load->expected_tokens - each : 1;
      if (!load->prefilled) prefill_s += runner.service_time().prefill_seconds(load->uncached_tokens);
      most_s = std::max(most_s, prefill_s + steps * step_s);
    }
  }
  return most_s;
}

void Admission::step(const Held& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  auto& model = models_.at(event.model);
  const double drain_s = event.drains ? drain_seconds(event.model) : 0;
  model.opens_ns = now_ns + event.load_ns + static_cast<uint64_t>(drain_s * 1e9);
  shed_expired(now_ns, actions);
  // Those of a higher class first, within a class the oldest: as they will be served, about.
  auto waiting = waiting_for(event.model);
  std::stable_sort(waiting.begin(), waiting.end(), [this](ipc::RequestId a, ipc::RequestId b) {
    return requests_.at(a).load.service_class < requests_.at(b).load.service_class;
  });
  double ahead_s = held_seconds(event.model, now_ns);
  for (const auto id : waiting) {
    auto& request = requests_.at(id);
    const double start_s = model.time.prefill_seconds(request.load.uncached_tokens);
    const double left_s =
        static_cast<double>(request.deadline_ns - std::min(request.deadline_ns, now_ns)) * 1e-9;
    const bool may_be_refused = !request.accepted && !request.returned && !request.held;
    if (may_be_refused && ahead_s + start_s > left_s) {
      queue_.remove(id);
      auto taken = requests_.extract(id);
      refuse(id, std::move(taken.mapped()), RefusalReason::kDeadline, now_ns, actions);
      continue;
    }
    ahead_s += start_s;
    request.held = true;
    queue_.keep(id);
  }
}

void Admission::step(const Reopened& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  models_.at(event.model).opens_ns = 0;
  pump(event.model, now_ns, actions);
}

void Admission::step(const Rerouted& event, uint64_t now_ns, AdmissionActions& actions) {
  now_ns = advance(now_ns);
  auto& request = requests_.at(event.request);
  CHECK(!request.runner && event.model < options_.models);
  if (!queue_.remove(event.request)) return;
  models_[request.model].trial.leave(event.request);
  if (request.suspect) models_[event.model].trial.wait(event.request, now_ns);
  request.model = event.model;
  request.returned = true;  // what it waits for says nothing of this model
  queue_.push_replay(
      waiting_of(event.request, request, request.accepted || request.held ? 0 : request.deadline_ns));
  pump(event.model, now_ns, actions);
}

}  // namespace deepserve::daemon
