#include "tests/sim/simulation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <queue>
#include <utility>
#include <variant>

#include "daemon/admission/forward_clock.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"
#include "tests/sim/arrivals.h"
#include "tests/sim/policy.h"

namespace deepserve::sim {
namespace {

constexpr uint64_t kNever = ~0ull;
// A refusal may come so much after the deadline: when the core looks, at its next tick.
constexpr uint64_t kLateRefusal_ns = 2 * daemon::Tick::kInterval_ns;
// So long after the last arrival: all that waits, and comes back, has been served or refused.
constexpr double kDrainSeconds = 4'000;
constexpr double kBaselineDrainSeconds = 60;

constexpr double kPrefillShare = 0.45;  // of a step beside decodes of the same class, about

constexpr size_t kClasses = static_cast<size_t>(ipc::Class::kCount);

size_t index_of(ipc::Class service_class) {
  return static_cast<size_t>(service_class);
}

uint64_t ns_of(double seconds) {
  return static_cast<uint64_t>(std::llround(seconds * 1e9));
}

class Simulation : private Truth {
 public:
  explicit Simulation(const SimulationOptions& options);
  SimulationResult run();

 private:
  enum class What : uint8_t { kArrival, kRetry, kStepEnd, kFault, kBack, kTick, kJump };
  struct Event {
    uint64_t at_ns;
    uint64_t order;
    What what;
    uint32_t index;  // stream, ask, runner, fault or jump
    uint64_t life;   // of the runner
    bool operator>(const Event& other) const {
      return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
    }
  };
  struct Runner {
    RunnerModel model;
    bool up = false;
    bool steps = false;
    bool drains = false;
    double away_seconds = 0;
    uint64_t life = 0;
    uint64_t fails_until_ns = 0;
    uint64_t idle_since_ns = kNever;  // while somebody waits
  };
  struct Ticket {
    std::string text;
    uint64_t promised_ns = 0;
    double wait_seconds = 0;
  };

  uint32_t prompt_tokens(ipc::RequestId id) const override { return ask_of(id).prompt_tokens; }
  uint32_t output_tokens(ipc::RequestId id) const override { return ask_of(id).output_tokens; }
  const Ask& ask_of(ipc::RequestId id) const { return result_.asks[result_.attempts[id].ask]; }

  // What the policy's clock shows, and the time that has passed if going back counts as standing still.
  uint64_t clock_ns() const { return now_ns_ + static_cast<uint64_t>(clock_ahead_ns_); }
  uint64_t passed_ns() const { return now_ns_ + leapt_ns_; }
  uint64_t stood_still_ns() const { return went_back_ ? daemon::ForwardClock::kStandsStill_ns : 0; }
  void jump(const ClockJump& jump);
  void post(uint64_t at_ns, What what, uint32_t index, uint64_t life = 0);
  void handle(const Event& event);
  template <typename T>
  void tell(const T& event);
  void act();
  void send(const daemon::Dispatch& action);
  void refuse(const daemon::Refuse& action);
  void arrive(uint32_t ask);
  void start_step(uint32_t index);
  void end_step(uint32_t index);
  void tell_gauges(uint32_t index);
  void tell_of(const RunnerEvent& event);
  void finish(ipc::RequestId id, Attempt& attempt);
  void fail(ipc::RequestId id, Attempt& attempt);
  void break_runner(const Fault& fault);
  void bring_up(uint32_t index);
  void plan_tick();
  void watch_idleness();
  void watch_room();
  void hash(uint64_t word) { result_.trace_hash = mixed(result_.trace_hash ^ word); }

  const SimulationOptions& options_;
  std::unique_ptr<Policy> policy_;
  std::vector<Arrivals> arrivals_;
  std::vector<Runner> runners_;
  std::vector<Ticket> tickets_;  // by ask
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  Random habits_;
  SimulationResult result_;
  daemon::AdmissionActions actions_;
  std::vector<RunnerEvent> told_;
  uint64_t now_ns_ = 0;
  int64_t clock_ahead_ns_ = 0;  // of the policy's clock
  uint64_t leapt_ns_ = 0;       // of that, what it leapt ahead
  bool went_back_ = false;
  bool jumps_ = false;  // this instant
  uint64_t orders_ = 0;
  uint64_t tick_ns_ = kNever;
  uint64_t waiting_ = 0;
  std::array<uint64_t, kClasses> unstarted_{};  // attempts without a first token, wherever they are
  std::array<std::deque<ipc::RequestId>, kClasses> refused_;  // whose deadline is not over
  std::array<bool, kClasses> has_room_{};                     // since room_seen_ns_
  std::array<double, kClasses> room_seconds_{};
  uint64_t room_seen_ns_ = 0;
};

Simulation::Simulation(const SimulationOptions& options) : options_(options), habits_(options.seed, 500) {
  PolicyOptions policy{options.shape, options.runners, options.seed, this};
  policy_ = make_policy(options.policy, policy);
  CHECK(policy_ != nullptr);
  result_.attempts.emplace_back();
  result_.seconds = options.seconds;
  for (uint32_t i = 0; i < options.runners; ++i) {
    runners_.push_back({RunnerModel(options.shape, options.seed, i)});
  }
  for (uint32_t i = 0; i < options.demand.streams.size(); ++i) arrivals_.emplace_back(options_, i);
}

void Simulation::post(uint64_t at_ns, What what, uint32_t index, uint64_t life) {
  events_.push({at_ns, ++orders_, what, index, life});
}

template <typename T>
void Simulation::tell(const T& event) {
  policy_->step(event, clock_ns(), actions_);
  act();
}

void Simulation::act() {
  for (size_t i = 0; i < actions_.size(); ++i) {  // acting may add to them
    const auto action = std::move(actions_[i]);
    if (const auto* sent = std::get_if<daemon::Dispatch>(&action)) send(*sent);
    if (const auto* refused = std::get_if<daemon::Refuse>(&action)) refuse(*refused);
  }
  actions_.clear();
}

void Simulation::send(const daemon::Dispatch& action) {
  Attempt& attempt = result_.attempts.at(action.request);
  Runner& runner = runners_.at(action.runner);
  CHECK(attempt.state == AttemptState::kWaits);
  CHECK(runner.up && !runner.drains);
  CHECK(!policy_->keeps_promises() || attempt.returned ||
        passed_ns() < attempt.clock_deadline_ns + stood_still_ns());
  const Ask& ask = ask_of(action.request);
  attempt.state = AttemptState::kSent;
  attempt.runner = action.runner;
  if (attempt.sent_ns == 0) attempt.sent_ns = now_ns_;
  attempt.tokens_max = std::min(ask.tokens_max, action.tokens_max);
  --waiting_;
  hash(action.request * 2);
  auto service_class = policy_->tells_classes() ? attempt.service_class : ipc::Class::kNormal;
  if (action.raised) service_class = ipc::Class::kNormal;
  runner.model.submit({action.request, service_class, ask.prompt_tokens,
                       std::min(ask.output_tokens, attempt.tokens_max), attempt.tokens_max,
                       attempt.generated});
  if (!runner.steps) start_step(action.runner);
}

void Simulation::refuse(const daemon::Refuse& action) {
  Attempt& attempt = result_.attempts.at(action.request);
  CHECK(attempt.state == AttemptState::kWaits);
  const uint64_t late_ns = kLateRefusal_ns + stood_still_ns();
  CHECK(!policy_->keeps_promises() || attempt.first_token_ns == 0);  // never shed once it started
  CHECK(!policy_->keeps_promises() || jumps_ || passed_ns() <= attempt.clock_deadline_ns + late_ns);
  CHECK(action.booked == !action.ticket.empty());
  Ask& ask = result_.asks[attempt.ask];
  attempt.state = AttemptState::kRefused;
  attempt.reason = action.reason;
  attempt.ended_ns = now_ns_;
  attempt.booked = action.booked;
  attempt.predicted_ns = action.predicted_ttft_ns;
  attempt.refused_until_ns = now_ns_ + action.retry_after_ms * 1'000'000;
  --waiting_;
  --unstarted_[index_of(attempt.service_class)];
  if (action.code == Code::kServerOverloaded) {
    refused_[index_of(attempt.service_class)].push_back(action.request);
  }
  hash(action.request * 2 + 1);
  Ticket& ticket = tickets_[attempt.ask];
  ticket = {};
  const bool more = ask.tries < options_.demand.retries.tries_max;
  if (!more || ask.habit == RetryHabit::kGivesUp) {
    ask.outcome = AskOutcome::kRefused;
  } else if (ask.habit == RetryHabit::kIgnores) {
    post(now_ns_ + ns_of(habits_.uniform(0.5, 1.5)), What::kRetry, attempt.ask);
  } else {
    if (action.booked)
      ticket = {action.ticket, attempt.refused_until_ns, 1e-3 * static_cast<double>(action.retry_after_ms)};
    post(attempt.refused_until_ns + ns_of(habits_.uniform(0, 0.2)), What::kRetry, attempt.ask);
  }
}

void Simulation::arrive(uint32_t index) {
  Ask& ask = result_.asks[index];
  const Stream& stream = options_.demand.streams[ask.stream];
  const SimClient& client = stream.clients[ask.client];
  const auto id = static_cast<ipc::RequestId>(result_.attempts.size());
  Attempt& attempt = result_.attempts.emplace_back();
  attempt.ask = index;
  attempt.service_class = stream.service_class;
  attempt.arrived_ns = now_ns_;
  attempt.deadline_ns = now_ns_ + kDeadlines_ns[static_cast<size_t>(stream.service_class)];
  attempt.clock_deadline_ns = passed_ns() + kDeadlines_ns[static_cast<size_t>(stream.service_class)];
  attempt.promised_ns = tickets_[index].promised_ns;
  attempt.promised_wait_seconds = tickets_[index].wait_seconds;
  ++ask.tries;
  ++waiting_;
  ++unstarted_[index_of(stream.service_class)];
  daemon::Arrived event;
  event.request = id;
  event.service_class = stream.service_class;
  event.client = client.name;
  event.client_weight = client.weight;
  event.prompt_bytes = ask.prompt_bytes;
  event.tokens_max = ask.tokens_max;
  event.bytes = ask.prompt_bytes + 500;
  event.body_hash = mixed(options_.seed ^ index);
  event.ticket = tickets_[index].text;
  event.rules = client.rules;
  policy_->step(event, clock_ns(), actions_);
  if (const uint64_t predicted_ns = policy_->predicted_ttft_ns(id); predicted_ns != 0) {
    result_.attempts[id].predicted_ns = predicted_ns;
  }
  act();
}

void Simulation::start_step(uint32_t index) {
  Runner& runner = runners_[index];
  CHECK(!runner.steps && runner.model.has_work());
  runner.steps = true;
  const double seconds = runner.model.begin_step();
  result_.longest_step_seconds = std::max(result_.longest_step_seconds, seconds);
  ++result_.steps;
  post(now_ns_ + std::max<uint64_t>(1, ns_of(seconds)), What::kStepEnd, index, runner.life);
}

void Simulation::tell_gauges(uint32_t index) {
  daemon::RunnerTold event;
  event.runner = index;
  event.gauges = runners_[index].model.gauges();
  tell(event);
}

void Simulation::end_step(uint32_t index) {
  Runner& runner = runners_[index];
  told_.clear();
  runner.model.end_step(told_);
  runner.model.check_accounting();
  runner.steps = true;  // what is sent meanwhile joins the next step, begun below
  tell_gauges(index);
  for (const auto& event : told_) tell_of(event);
  runner.steps = false;
  if (runner.model.has_work()) {
    start_step(index);
  } else if (runner.drains) {
    runner.up = runner.drains = false;
    post(now_ns_ + ns_of(runner.away_seconds), What::kBack, index);
  }
}

void Simulation::tell_of(const RunnerEvent& event) {
  Attempt& attempt = result_.attempts[event.attempt];
  if (event.kind == RunnerEvent::Kind::kAccepted) {
    attempt.state = AttemptState::kRuns;
    attempt.accepted = true;
    return tell(daemon::Accepted{event.attempt, event.prompt_tokens, 0});
  }
  if (now_ns_ < runners_[attempt.runner].fails_until_ns) return fail(event.attempt, attempt);
  const bool first = attempt.first_token_ns == 0;
  attempt.generated = event.generated;
  if (first) {
    attempt.first_token_ns = now_ns_;
    --unstarted_[index_of(attempt.service_class)];
    tell(daemon::FirstToken{event.attempt});
  } else {
    tell(daemon::TokensCame{event.attempt, 1});
  }
  if (event.kind != RunnerEvent::Kind::kFinished) return;
  attempt.prefilled += event.prefilled;
  finish(event.attempt, attempt);
  tell(daemon::Ended{event.attempt, daemon::EndKind::kFinished, event.generated});
}

void Simulation::finish(ipc::RequestId id, Attempt& attempt) {
  Ask& ask = result_.asks[attempt.ask];
  CHECK(attempt.state == AttemptState::kRuns && ask.outcome == AskOutcome::kOpen);
  attempt.state = AttemptState::kFinished;
  attempt.ended_ns = now_ns_;
  hash(id ^ now_ns_);
  const double pace = static_cast<double>(attempt.ended_ns - attempt.first_token_ns) * 1e-9 /
                      std::max(1u, attempt.generated - 1);
  if (attempt.first_token_ns > attempt.deadline_ns) {
    ask.outcome = AskOutcome::kLate;
  } else if (attempt.service_class != ipc::Class::kBatch && pace > options_.shape.itl_seconds_max) {
    ask.outcome = AskOutcome::kSlow;
  } else {
    ask.outcome = attempt.generated < ask.output_tokens ? AskOutcome::kDegraded : AskOutcome::kFull;
  }
}

void Simulation::fail(ipc::RequestId id, Attempt& attempt) {
  CHECK(attempt.state == AttemptState::kRuns);
  runners_[attempt.runner].model.cancel(id);
  if (attempt.first_token_ns == 0) --unstarted_[index_of(attempt.service_class)];
  attempt.state = AttemptState::kFailed;
  attempt.ended_ns = now_ns_;
  result_.asks[attempt.ask].outcome = AskOutcome::kFailed;
  hash(id ^ ~now_ns_);
  tell(daemon::Ended{id, daemon::EndKind::kFailed, attempt.generated});
}

void Simulation::break_runner(const Fault& fault) {
  Runner& runner = runners_.at(fault.runner);
  if (!runner.up || runner.drains) return;
  if (fault.kind == FaultKind::kFails) {
    runner.fails_until_ns = now_ns_ + ns_of(fault.away_seconds);
    return;
  }
  runner.away_seconds = fault.away_seconds;
  if (fault.kind == FaultKind::kDrains && runner.model.has_work()) {
    runner.drains = true;
    return tell(daemon::RunnerDown{fault.runner});
  }
  runner.up = runner.steps = false;
  ++runner.life;
  post(now_ns_ + ns_of(fault.away_seconds), What::kBack, fault.runner);
  const auto lost = runner.model.die();
  tell(daemon::RunnerDown{fault.runner});
  for (const auto& event : lost) {
    Attempt& attempt = result_.attempts[event.attempt];
    attempt.generated = event.generated;
    attempt.prefilled += event.prefilled;
    attempt.state = AttemptState::kWaits;
    attempt.returned = true;
    ++waiting_;
    tell(daemon::Returned{event.attempt, attempt.accepted});
  }
}

void Simulation::jump(const ClockJump& jump) {
  const auto by_ns = std::llround(jump.by_seconds * 1e9);
  CHECK(static_cast<int64_t>(now_ns_) + clock_ahead_ns_ + by_ns > 0);
  clock_ahead_ns_ += by_ns;
  if (by_ns > 0) leapt_ns_ += static_cast<uint64_t>(by_ns);
  if (by_ns < 0) went_back_ = true;
  jumps_ = true;
  tell(daemon::Tick{});
  jumps_ = false;
}

void Simulation::bring_up(uint32_t index) {
  runners_[index].up = true;
  daemon::RunnerUp event;
  event.runner = index;
  event.capacity = {options_.shape.sequences_max,       options_.shape.kv_blocks,
                    options_.shape.block_tokens,        0,
                    options_.shape.step_target_seconds, options_.shape.step_seconds_max};
  tell(event);
  tell_gauges(index);
}

void Simulation::handle(const Event& event) {
  switch (event.what) {
    case What::kArrival: {
      result_.asks.push_back(arrivals_[event.index].draw());
      result_.asks.back().first_ns = now_ns_;
      tickets_.emplace_back();
      if (const auto at = arrivals_[event.index].next_ns()) post(*at, What::kArrival, event.index);
      return arrive(static_cast<uint32_t>(result_.asks.size() - 1));
    }
    case What::kRetry:
      return arrive(event.index);
    case What::kStepEnd:
      if (event.life == runners_[event.index].life) end_step(event.index);
      return;
    case What::kFault:
      return break_runner(options_.faults[event.index]);
    case What::kJump:
      return jump(options_.jumps[event.index]);
    case What::kBack:
      return bring_up(event.index);
    case What::kTick:
      if (event.at_ns != tick_ns_) return;  // another one was planned since
      tick_ns_ = kNever;
      return tell(daemon::Tick{});
  }
}

void Simulation::plan_tick() {
  uint64_t at_ns = kNever;
  const bool busy = waiting_ > 0 || std::ranges::any_of(runners_, [](const Runner& r) { return r.steps; });
  if (busy) at_ns = tick_ns_ == kNever ? now_ns_ + daemon::Tick::kInterval_ns : tick_ns_;
  if (const uint64_t clock_ns = policy_->next_ns(); clock_ns != 0) {
    const int64_t wanted = static_cast<int64_t>(clock_ns) - clock_ahead_ns_;
    at_ns = std::min(at_ns, std::max(static_cast<uint64_t>(std::max<int64_t>(wanted, 0)), now_ns_ + 1));
  }
  if (at_ns == tick_ns_ || at_ns == kNever) return;
  tick_ns_ = at_ns;
  post(at_ns, What::kTick, 0);
}

void Simulation::watch_idleness() {
  for (auto& runner : runners_) {
    const bool idle = runner.up && !runner.drains && !runner.steps && waiting_ > 0;
    if (!idle && runner.idle_since_ns != kNever) {
      result_.idle_while_waiting_seconds += static_cast<double>(now_ns_ - runner.idle_since_ns) * 1e-9;
      runner.idle_since_ns = kNever;
    } else if (idle && runner.idle_since_ns == kNever) {
      runner.idle_since_ns = now_ns_;
    }
  }
}

// Time in which nobody of a class or above was left to be started, and there was a seat, could have started
// those of the class who were refused before, in their order; each second of it once.
void Simulation::watch_room() {
  const double passed = static_cast<double>(now_ns_ - room_seen_ns_) * 1e-9;
  room_seen_ns_ = now_ns_;
  for (size_t i = 0; i < kClasses; ++i) {
    auto& refused = refused_[i];
    while (!refused.empty() && result_.attempts[refused.front()].deadline_ns <= now_ns_) refused.pop_front();
    room_seconds_[i] = refused.empty() ? 0 : room_seconds_[i] + (has_room_[i] ? passed : 0);
    while (!refused.empty()) {
      const double prompt = ask_of(refused.front()).prompt_tokens;
      const double seconds = prompt / (kPrefillShare * options_.shape.prefill_tokens_per_second);
      if (seconds > room_seconds_[i]) break;
      for (size_t j = i; j < kClasses; ++j) room_seconds_[j] = std::max(0.0, room_seconds_[j] - seconds);
      result_.attempts[refused.front()].would_have_fit = true;
      refused.pop_front();
    }
  }
  const bool seat = std::ranges::any_of(runners_, [&](const Runner& runner) {
    return runner.up && !runner.drains && runner.model.sequences() < options_.shape.sequences_max;
  });
  uint64_t ahead = 0;
  for (size_t i = 0; i < kClasses; ++i) {
    ahead += unstarted_[i];
    has_room_[i] = seat && ahead == 0;
  }
}

SimulationResult Simulation::run() {
  for (uint32_t i = 0; i < runners_.size(); ++i) bring_up(i);
  for (uint32_t i = 0; i < arrivals_.size(); ++i) {
    if (const auto at = arrivals_[i].next_ns()) post(*at, What::kArrival, i);
  }
  for (uint32_t i = 0; i < options_.faults.size(); ++i) {
    post(ns_of(options_.faults[i].at_seconds), What::kFault, i);
  }
  for (uint32_t i = 0; i < options_.jumps.size(); ++i) {
    post(ns_of(options_.jumps[i].at_seconds), What::kJump, i);
  }
  const double drain_seconds = policy_->keeps_promises() ? kDrainSeconds : kBaselineDrainSeconds;
  const uint64_t end_ns = ns_of(options_.seconds + drain_seconds);
  while (!events_.empty() && events_.top().at_ns < end_ns) {
    const Event event = events_.top();
    events_.pop();
    now_ns_ = event.at_ns;
    ++result_.events;
    handle(event);
    plan_tick();
    watch_idleness();
    watch_room();
  }
  for (const auto& runner : runners_) {
    result_.busy_seconds += runner.model.busy_seconds();
    result_.work_seconds += runner.model.work_seconds();
    result_.preemptions += runner.model.preemptions();
  }
  for (const auto& attempt : result_.attempts) {
    const bool open = attempt.state < AttemptState::kRefused && attempt.arrived_ns > 0;
    CHECK(!open || !policy_->keeps_promises());  // exactly one outcome each
  }
  return std::move(result_);
}

}  // namespace

SimulationResult simulate(const SimulationOptions& options) {
  return Simulation(options).run();
}

}  // namespace deepserve::sim
