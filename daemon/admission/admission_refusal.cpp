// What is predicted, who is refused, and when he may come back.
#include <algorithm>

#include "daemon/admission/admission.h"
#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

constexpr int kRounds = 4;  // of making a wait longer by the slots that come up in it
// Of what a class's line drains: claims come as they like, and would queue without end at all of it. Fresh
// work has the rest, and what is not claimed.
constexpr double kBookable = 0.7;
// Who is promised a slot has more than half of his deadline left for those who come for theirs at once; vip
// comes seldom, and goes ahead of all others.
constexpr std::array<double, ClassQueue::kClasses> kSure = {1.3, 2.2, 2.2};

uint64_t to_ns(double seconds) {
  return seconds <= 0 ? 0 : static_cast<uint64_t>(std::min(seconds, 1e8) * 1e9);
}

}  // namespace

void Admission::shed_expired(uint64_t now_ns, AdmissionActions& actions) {
  if (queue_.next_expiry_ns() == 0 || queue_.next_expiry_ns() > now_ns) return;
  for (const auto id : queue_.take_expired(now_ns)) {
    auto taken = requests_.extract(id);
    CHECK(!taken.empty());
    refuse(id, std::move(taken.mapped()), RefusalReason::kDeadline, now_ns, actions);
  }
}

// What of this class waits, with what goes before it, and how fast that drains: what the higher classes have
// used of late is theirs, what lower ones that wait are guaranteed is theirs, and its own share is its own.
// Beside higher ones that wait it has its share of what the others leave, and no more.
DrainState Admission::drain_of(uint32_t model, ipc::Class service_class, uint64_t now_ns) const {
  const auto& usage = models_[model].usage;
  const auto own = static_cast<size_t>(service_class);
  // While it is held, as many as one will be there.
  const double held_s = held_seconds(model, now_ns);
  const double runners = std::max(runners_of(model), held_s > 0 ? 1.0 : 0.0);
  DrainState drain;
  if (runners == 0) return drain;
  const double each = models_[model].throughput.per_runner(runners);
  const double share = options_.classes[own].share;
  double free = 1;  // of what higher classes use
  double left = 1;  // of what those of them use that do not wait
  double lower_shares = share;
  double higher_shares = share;
  for (size_t i = 0; i < ClassQueue::kClasses; ++i) {
    const auto other = static_cast<ipc::Class>(i);
    const double waits = queue_.cost(model, other);
    if (i <= own) drain.backlog_s += waits;
    if (i == own) continue;
    if (i > own) {
      if (waits > 0) lower_shares += options_.classes[i].share;
      continue;
    }
    const double used = std::max(0.0, usage.per_second(other, now_ns)) / (runners * each);
    free -= used;
    if (waits > 0) {
      higher_shares += options_.classes[i].share;
    } else {
      left -= used;
    }
  }
  if (higher_shares > share) free = std::min(free, left * share / higher_shares);
  drain.rate = runners * each * std::clamp(free * share / lower_shares, share, 1.0);
  drain.backlog_s += held_s * drain.rate;
  return drain;
}

// Until one of those that run at this model's runners has ended, if all get as long as they are expected to.
double Admission::first_room_seconds(uint32_t model) const {
  double least_s = -1;
  for (const auto& runner : runners_) {
    if (!runner.is_up() || runner.model() != model) continue;
    const double step_s = runner.service_time().step_seconds(runner.sequences(), runner.context_tokens());
    for (const auto* load : runner.loads()) {
      const uint32_t each = load->generated_each();
      const double steps = load->expected_tokens > each ? load->expected_tokens - each : 1;
      const double left_s =
          steps * step_s +
          (load->prefilled ? 0 : runner.service_time().prefill_seconds(load->uncached_tokens));
      if (least_s < 0 || left_s < least_s) least_s = left_s;
    }
  }
  return std::max(0.0, least_s);
}

// Nothing: no runner and none to be waited for, or none that knows its speed.
std::optional<PredictedTtft> Admission::predict(const Request& request, uint64_t now_ns) const {
  const auto& model = models_[request.model];
  const auto service_class = request.load.service_class;
  auto placement = place(request, now_ns);
  const double held_s = held_seconds(request.model, now_ns);
  if (held_s > 0) placement.start_s = model.time.prefill_seconds(request.load.uncached_tokens);
  const bool unknown = placement.blocked == WaitReason::kNoRunner || !model.time.known();
  if (unknown && held_s == 0) return std::nullopt;
  double ahead_s = request.booked ? queue_.line(request.model, service_class).booked_cost()
                                  : queue_.cost_ahead(request.model, service_class, request.client);
  for (size_t i = 0; i < static_cast<size_t>(service_class); ++i) {
    ahead_s += queue_.cost(request.model, static_cast<ipc::Class>(i));
  }
  double wait_s = 0;
  if (ahead_s > 0 || !placement.runner) {
    const auto drain = drain_of(request.model, service_class, now_ns);
    // What a vip lets go first is vips' prefill, which its start takes in already.
    const bool lets_go_first = service_class == ipc::Class::kVip && placement.blocked == WaitReason::kPrefill;
    const bool has_room = placement.runner || lets_go_first;
    const double room_s = held_s > 0 ? held_s : has_room ? 0 : first_room_seconds(request.model);
    wait_s = ahead_s / drain.rate + room_s;
    for (int i = 0; i < kRounds && !request.booked; ++i) {
      const uint64_t until_ns = now_ns + to_ns(wait_s);
      const double booked_s = desk_.calendar().expected_s(request.model, service_class, now_ns, until_ns);
      wait_s = (ahead_s + booked_s) / drain.rate + room_s;
    }
  }
  return model.ttft.on_arrival(service_class, wait_s, placement.start_s, placement.behind);
}

Claimant Admission::claimant_of(const Request& request) {
  return {.client = request.client,
          .model = request.model,
          .service_class = request.load.service_class,
          .body_hash = request.body_hash,
          .body_bytes = request.body_bytes,
          .any_model = request.any_model,
          .any_class = request.any_class,
          .client_hash = request.client_hash,
          .weight = request.client_weight};
}

// A client's own limits count whatever the load; its retries only while others are sent away.
std::optional<ClientDenial> Admission::ask_client(Request& request, bool is_retry, uint64_t now_ns) {
  // Without its ticket it may as well be another request that is equal.
  const bool early = request.back.outcome == TicketOutcome::kEarly && request.back.by_ticket;
  ClientLimits::Ask ask;
  ask.tokens = request.whole_tokens;
  ask.is_retry = !request.booked && (is_retry || early);
  ask.is_shedding = refused_ns_ != 0 && now_ns - refused_ns_ < kShedding_ns;
  return clients_.ask(request.client, request.rules, ask, now_ns);
}

void Admission::deny(ipc::RequestId id, const Request& request, const ClientDenial& denial,
                     AdmissionActions& actions) {
  constexpr std::array<RefusalReason, static_cast<size_t>(ClientLimit::kCount)> kReasons = {
      RefusalReason::kClientRequests, RefusalReason::kClientTokens, RefusalReason::kRetryBudget};
  Refuse refusal;
  refusal.request = id;
  refusal.code = Code::kRateLimited;
  refusal.reason = kReasons[static_cast<size_t>(denial.limit)];
  refusal.service_class = request.load.service_class;
  refusal.deadline_ns = request.deadline_ns - std::min(request.deadline_ns, request.arrived_ns);
  refusal.retry_after_ms = denial.retry_after_ms;
  wholes_.note(request.whole, {refusal.reason, denial, {}});
  actions.emplace_back(std::move(refusal));
}

// The same for both looks at a head. True: it is too late, and request.predicted says by how much.
bool Admission::is_late_by_head(const Arrived& event, Request& request, uint64_t now_ns) const {
  const auto claimant = claimant_of(request);
  request.back = desk_.look(claimant, event.ticket, now_ns);
  if (request.back.outcome == TicketOutcome::kOnTime) return false;
  if (event.ticket.empty() && desk_.may_be_due(claimant, now_ns)) return false;
  const auto predicted = predict(request, now_ns);
  const uint64_t left_ns = request.deadline_ns - std::min(request.deadline_ns, now_ns);
  if (!predicted || to_ns(predicted->to_admit_by_s()) <= left_ns) return false;
  request.predicted = *predicted;
  return true;
}

std::optional<double> Admission::too_late_by_glance(const Arrived& event, uint64_t now_ns) const {
  now_ns = clock_.at(now_ns);
  auto request = make_request(event, now_ns);
  if (!is_late_by_head(event, request, now_ns)) return std::nullopt;
  return request.predicted.stretched_s;
}

std::optional<Refuse> Admission::glance(const Arrived& event, uint64_t now_ns) {
  now_ns = advance(now_ns);
  auto request = make_request(event, now_ns);
  if (!is_late_by_head(event, request, now_ns)) return std::nullopt;
  AdmissionActions actions;
  if (const auto denial = ask_client(request, event.is_retry, now_ns)) {
    deny(event.request, request, *denial, actions);
  } else {
    refuse(event.request, std::move(request), RefusalReason::kDeadline, now_ns, actions);
  }
  return std::get<Refuse>(std::move(actions.front()));
}

// What its deadline has to leave it for a slot to be of use: its start on an idle host, and kSure times what
// nine of ten starts would be within, beside those who run, were it the only one to be prefilled.
double Admission::slot_seconds(const Request& request) const {
  const auto& model = models_[request.model];
  const auto& load = request.load;
  if (!model.time.known()) return 0;
  const double idle_s =
      model.time.prefill_seconds(load.uncached_tokens) + model.time.step_seconds(1, load.prompt_tokens);
  double least_s = -1;
  for (const auto& runner : runners_) {
    if (!runner.is_up() || runner.model() != request.model) continue;
    const double start_s = runner.first_start_seconds(load);
    if (least_s < 0 || start_s < least_s) least_s = start_s;
  }
  const auto start = model.ttft.on_dispatch(load.service_class, std::max(0.0, least_s), false);
  return std::max(idle_s, kSure[static_cast<size_t>(load.service_class)] * start.stretched_s);
}

void Admission::refuse(ipc::RequestId id, Request&& request, RefusalReason reason, uint64_t now_ns,
                       AdmissionActions& actions) {
  CHECK(!request.runner);
  models_[request.model].trial.leave(id);
  refused_ns_ = std::max(now_ns, uint64_t{1});
  Refuse refusal;
  refusal.request = id;
  refusal.reason = reason;
  refusal.service_class = request.load.service_class;
  refusal.predicted_ttft_ns = to_ns(request.predicted.stretched_s);
  refusal.deadline_ns = request.deadline_ns - std::min(request.deadline_ns, request.arrived_ns);
  settle(request, EndKind::kCancelled, now_ns);
  auto drain = drain_of(request.model, refusal.service_class, now_ns);
  drain.rate *= kBookable;
  // Nothing is promised to one that could not make it if it were first in line.
  const bool hopeless = static_cast<double>(refusal.deadline_ns) * 1e-9 < slot_seconds(request);
  if (hopeless) drain.rate = 0;
  const auto* said = wholes_.find(request.whole);
  if (said != nullptr && said->refused)
    request.back = said->back;  // another part of it was, and has its slot
  const auto offer = desk_.offer(claimant_of(request), request.whole_cost, drain, id, request.back, now_ns);
  const auto slot = offer.booked ? TicketOutcome::kEarly : TicketOutcome::kNone;
  wholes_.note(request.whole, {reason, std::nullopt, {slot, offer.serial, offer.instant_ns, true}});
  const bool too_far = !offer.booked && !hopeless;
  if (too_far && reason == RefusalReason::kDeadline) refusal.reason = RefusalReason::kHorizon;
  refusal.booked = offer.booked;
  refusal.retry_after_ms = std::max(kRetryAfterMin_ms, offer.retry_after_ms);
  refusal.ticket = offer.ticket;
  actions.emplace_back(std::move(refusal));
}

}  // namespace deepserve::daemon
