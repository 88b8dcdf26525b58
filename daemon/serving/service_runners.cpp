// Runners come and go; requests go to them and come back when one dies; the stop.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "daemon/serving/kept_request.h"
#include "daemon/serving/service.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

bool Service::takes(const Runner& runner) const {
  return runner.routed && runner.link->is_ready() && !drains_.runner(runner.link->id());
}

Service::Runner& Service::runner_at(uint32_t index) {
  for (auto& runner : runners_) {
    if (runner->index == index) return *runner;
  }
  CHECK(false);
}

Service::Runner& Service::runner_of(const RunnerLink& link) {
  for (auto& runner : runners_) {
    if (runner->link.get() == &link) return *runner;
  }
  CHECK(false);
}

// Those of an earlier dsd are taken over where they are what the configuration asks for; then the others
// start.
void Service::begin_runners() {
  const auto start_others = [this] {
    for (auto& runner : runners_) {
      if (!runner->link->was_adopted()) begin_again(*runner);
    }
    for (auto& runner : runners_) {
      if (stopping_ || !runner->link->stopped()) continue;
      if (is_wanted(*runner)) {
        runner->link->start();
      } else {
        runner->ending = true;
      }
    }
    gpus_.settle();
    forget_what_is_gone();
    (void)keep_generations();
  };
  gpus_.find_left();
  gpus_.configure(config_);
  begun_ = true;
  if (options_.rendezvous_dir.empty()) return start_others();
  adoption_ = std::make_unique<Adoption>(
      loop_, options_.rendezvous_dir, config_.supervise.hang_after_ns,
      [this](RunnerCandidate candidate) { consider(std::move(candidate)); }, start_others);
}

void Service::consider(RunnerCandidate candidate) {
  const auto wanting = std::find_if(runners_.begin(), runners_.end(), [&candidate](const auto& runner) {
    return runner->link->wants(candidate);
  });
  if (wanting == runners_.end()) {
    return adoption_->end(std::move(candidate.process), candidate.path,
                          "no model and device of the configuration is what it serves");
  }
  const pid_t pid = candidate.process.pid();
  const auto adopted = (*wanting)->link->adopt(std::move(candidate));
  if (!adopted) {
    spdlog::error("runner {} (pid {}) could not be adopted and is ended: {}", (*wanting)->link->id(), pid,
                  adopted.error().message);
  }
}

// Before the loop sleeps: what is due is done, what was sent is published, and the lanes are armed.
void Service::turn() {
  for (auto& runner : runners_) {
    if (runner->taking != takes(*runner)) tell_runner(*runner);
  }
  look_at_generations();
  if (const uint64_t due_ns = tick_due_ns(); due_ns != 0 && due_ns <= monotonic_ns()) tell_time();
  act();
  for (auto& runner : runners_) runner->link->turn();
  arrange_deadline_timer();
  answer_drains();
  check_stopped();
}

// When admission is to hear of the time next; 0: not before something happens.
uint64_t Service::tick_due_ns() const {
  const uint64_t next_ns = admission_.next_ns();
  if (records_.empty()) return next_ns;
  const uint64_t regular_ns = ticked_ns_ + Tick::kInterval_ns;
  return next_ns == 0 ? regular_ns : std::min(next_ns, regular_ns);
}

void Service::tell_time() {
  ticked_ns_ = monotonic_ns();
  tell(Tick{});
}

void Service::arrange_deadline_timer() {
  const uint64_t deadline_ns = tick_due_ns();
  if (deadline_ns == timer_deadline_ns_) return;
  timer_deadline_ns_ = deadline_ns;
  if (deadline_ns == 0) return deadline_timer_.stop();
  const uint64_t now_ns = monotonic_ns();
  deadline_timer_.start(deadline_ns <= now_ns ? 0 : (deadline_ns - now_ns) / kMillisecond_ns + 1);
}

void Service::tick() {
  const uint64_t now_ns = monotonic_ns();
  for (auto& runner : runners_) {
    runner->link->tick(now_ns);
    tell_runner(*runner);
  }
  gpus_.tick();
  reap_strays();
  forget_running();
  for (uint32_t model = 0; model < served_.size(); ++model) fallbacks_.breaker(model).state(now_ns);
  look_at_demand();
  tell_time();
}

// Whether it takes requests, and how fast it is.
void Service::tell_runner(Runner& runner) {
  const auto& link = *runner.link;
  if (runner.taking != takes(runner)) {
    runner.taking = takes(runner);
    if (!runner.taking) return tell(RunnerDown{runner.index});
    const auto& facts = *link.facts();
    const auto& model = link.model();
    const RunnerCapacity capacity{facts.sequences_max,
                                  facts.kv_blocks,
                                  facts.kv_block_tokens,
                                  facts.context_tokens,
                                  static_cast<double>(model.step_target_ns) * 1e-9,
                                  static_cast<double>(model.step_max_ns) * 1e-9};
    tell(RunnerUp{runner.index, runner.line, capacity});
  }
  if (runner.taking) tell(RunnerTold{runner.index, link.gauges(), link.has_room()});
}

// Does what was decided. A request that has ended meanwhile is passed over.
void Service::act() {
  while (!actions_.empty()) {
    for (const auto& action : std::exchange(actions_, {})) {
      if (const auto* chosen = std::get_if<Dispatch>(&action)) {
        dispatch(*chosen);
      } else if (const auto* changed = std::get_if<BrownoutChanged>(&action)) {
        spdlog::warn("brownout: {}", brownout_level_name(changed->level));
      } else if (const auto* refused = std::get_if<Refuse>(&action)) {
        const auto found = records_.find(refused->request);
        if (found == records_.end()) continue;
        auto& record = *found->second;
        CHECK(request_cell(record.state, RequestEvent::kExpire).rule == RequestRule::kRefuse);
        record.in_admission = false;
        end_refused(record, refusal_of(*refused, record));
      }
    }
  }
}

// What its runner gets and keeps of it.
ipc::Submit Service::submit_of(const Record& record) const {
  ipc::Submit submit;
  submit.request = record.id;
  submit.work = record.spec.work;
  submit.service_class = record.spec.service_class;
  submit.deadline_ns = record.deadline_ns;
  submit.prompt = record.spec.prompt;
  submit.generation = record.spec.generation;
  submit.resumed = record.progress.resumed();
  submit.opaque = encode_kept(record.spec, record.started_ns, record.fallback.degraded);
  submit.prefix_salt = salt_of(record);
  return submit;
}

void Service::dispatch(const Dispatch& chosen) {
  const auto found = records_.find(chosen.request);
  if (found == records_.end()) return;
  auto& record = *found->second;
  auto& runner = runner_at(chosen.runner);
  if (record.spec.work == ipc::Work::kGenerate && chosen.tokens_max < record.spec.generation.tokens_max) {
    auto& generation = record.spec.generation;
    generation.tokens_max = chosen.tokens_max;
    generation.tokens_min = std::min(generation.tokens_min, chosen.tokens_max);
    add_degraded(record.fallback.degraded, "cap_tokens");
  }
  ipc::Submit submit = submit_of(record);
  if (submit.has_unheard() && !runner.link->takes_unheard()) {
    end_failed(record, {Code::kRunnerLost,
                        "the runner was lost in an upgrade of dsd, and the one that is left is of "
                        "an earlier version, which does not tell again"});
    return;
  }
  if (chosen.raised) submit.service_class = ipc::Class::kNormal;
  const auto body = submit.encode();
  if (body.size() > runner.link->body_bytes_max()) {
    // start() has checked it: only what was generated since can have made it so large.
    end_failed(record, {Code::kRunnerLost,
                        fmt::format("the runner was lost, and the request with what it had generated ({} "
                                    "bytes) is larger than the {} bytes that a runner takes",
                                    body.size(), runner.link->body_bytes_max())});
    return;
  }
  if (!runner.link->is_ready() || !runner.link->send(ipc::MessageType::kSubmit, body)) {
    // It goes back ahead of all that wait, until a lane has room.
    tell_runner(runner);
    if (runner.taking) tell(RunnerTold{runner.index, runner.link->gauges(), false});
    note(record, TraceKind::kReturned);
    return tell(Returned{record.id, record.progress.accepted(), false});
  }
  const auto cell = request_cell(record.state, RequestEvent::kDispatch);
  CHECK(cell.rule == RequestRule::kGo);
  record.state = cell.next;
  record.runner = &runner;
  record.first_told = false;
  runner.requests.insert(record.id);
  note(record, TraceKind::kDispatched, record.progress.generated_tokens());
  if (!runner.link->has_room()) tell_runner(runner);
}

void Service::leave_runner(Record& record) {
  auto* runner = std::exchange(record.runner, nullptr);
  if (runner == nullptr) return;
  runner->requests.erase(record.id);
}

void Service::on_ready(RunnerLink& link) {
  tell_runner(runner_of(link));
}

void Service::on_drained(RunnerLink& link) {
  tell_runner(runner_of(link));
}

void Service::on_restart(RunnerLink&, const std::string& reason) {
  if (options_.on_runner_restart) options_.on_runner_restart(reason);
}

void Service::on_died(RunnerLink& link, Blame blame) {
  auto& runner = runner_of(link);
  tell_runner(runner);
  begin_again(runner);
  std::vector<RequestId> ids(runner.requests.begin(), runner.requests.end());
  // The one that was on trial first, then the oldest.
  std::sort(ids.begin(), ids.end(), [this](RequestId a, RequestId b) {
    return std::pair(!admission_.was_tried(a), a) < std::pair(!admission_.was_tried(b), b);
  });
  const bool alone = ids.size() == 1;
  const std::string why = link.supervision().last_error();
  for (const RequestId id : ids) replay_or_lose(*records_.at(id), blame, alone, why);
  std::vector<uint64_t> questions;
  for (const auto& [id, pending] : queries_) {
    if (pending.runner == &runner) questions.push_back(id);
  }
  for (const uint64_t id : questions) {
    loop_.defer([this, id] {
      auto pending = queries_.extract(id);
      if (!pending.empty())
        pending.mapped().done(fail(Code::kRunnerLost, "the runner died before it answered"));
    });
  }
  // While an order is carried out it is looked at first (turn()): what fails may have its place taken.
  if (!served_[runner.model]->rollout.busy() && !model_may_serve(runner.model)) {
    lose_line(runner.model);
  }
}

void Service::lose(Record& record, std::string why) {
  note(record, TraceKind::kRunnerDied, record.progress.generated_tokens(), why);
  const auto cell = request_cell(record.state, RequestEvent::kRunnerLost);
  CHECK(cell.rule == RequestRule::kRefuse);
  leave_runner(record);
  record.state = cell.next;
  end_failed(record, {Code::kRunnerLost, std::move(why)});
}

void Service::replay_or_lose(Record& record, Blame blame, bool alone, const std::string& why) {
  // The tokens that were told are the replay's prompt: it goes on from them, in whatever words.
  const uint32_t told = record.progress.resumed_tokens();
  const bool in_other_words =
      told > 0 && record.runner != nullptr && !replays_exactly(*record.runner->settings);
  note(record, TraceKind::kRunnerDied, told,
       in_other_words ? why + "; its rest may be in other words: model.deterministic = false" : why);
  if (record.is_copy) return end_failed(record, {Code::kRunnerLost, why});
  const bool again = record.progress.on_runner_died(blame, alone);
  if (!again && blame == Blame::kRunner) record.runner->link->absolve();
  const auto cell = request_cell(record.state, again ? RequestEvent::kRunnerDied : RequestEvent::kRunnerLost);
  leave_runner(record);
  record.state = cell.next;
  if (cell.rule == RequestRule::kDrop) return erase(record);
  if (cell.rule == RequestRule::kRefuse) {
    const std::string again_text = "the runner died again while it worked on this request";
    return end_failed(record, {Code::kRunnerLost, record.trouble.empty() ? again_text : record.trouble});
  }
  CHECK(cell.rule == RequestRule::kRequeue);
  record.trouble.clear();
  // What was accepted is never shed; what was not may still get its 503.
  const bool suspect = blame == Blame::kRunner || record.progress.is_in_vain();
  tell(Returned{record.id, record.progress.accepted(), suspect});
  if (record.line == canary_line(record.model) && served_[record.model]->rollout.canary_number() == 0) {
    // The canary that it was with is no more: the live one serves it.
    record.line = live_line(record.model);
    tell(Rerouted{record.id, record.line});
  }
}

// No runner of this model is left or will come by itself.
void Service::lose_line(uint32_t model) {
  Error trouble = model_trouble(model);
  if (retry_after_ms(model) != 0) trouble.code = Code::kModelFailed;  // for those for whom it was tried
  for (const RequestId id : admission_.waiting_for(live_line(model))) {
    auto& record = *records_.at(id);
    const auto service_class = record.spec.service_class;
    if (record.progress.accepted()) {
      end_failed(record, {Code::kRunnerLost, trouble.message});
    } else {
      end_refused(record, {trouble, 0, "", service_class});
    }
  }
}

bool Service::model_may_serve(uint32_t model) const {
  if (adoption_ != nullptr && !adoption_->over()) return true;
  // In the middle of a swap there may be none; it comes, or the order ends.
  if (served_[model]->rollout.busy() && served_[model]->rollout.routed() != 0) return true;
  if (served_[model]->rollout.routed() == 0 && served_[model]->on_demand) return retry_after_ms(model) == 0;
  return std::any_of(runners_.begin(), runners_.end(), [model](const auto& runner) {
    return runner->model == model && runner->routed && runner->link->supervision().may_become_ready();
  });
}

// Why nobody serves it. kModelNotReady: that is to be so, or for a while; kModelFailed: an operator is
// needed.
Error Service::model_trouble(uint32_t model) const {
  const auto& served = *served_[model];
  if (retry_after_ms(model) != 0) return {Code::kModelNotReady, served.failure};
  if (served.rollout.routed() == 0) {
    const auto code = served.failure.empty() ? Code::kModelNotReady : Code::kModelFailed;
    return {code, fmt::format("model '{}' is unloaded", served_[model]->config.name)};
  }
  std::string text = fmt::format("no runner of model '{}' is ready", served_[model]->config.name);
  for (const auto& runner : runners_) {
    if (runner->model != model || !runner->routed) continue;
    const auto& supervision = runner->link->supervision();
    text += fmt::format("; {} is {}", runner->link->id(), runner->link->state_name());
    if (supervision.last_error().empty()) continue;
    text += fmt::format(": {}", told_text(*runner, supervision.last_error()));
  }
  return {Code::kModelFailed, text};
}

Refusal Service::shutting_down(ipc::Class service_class) const {
  return {{Code::kShuttingDown, "the server is shutting down"},
          Admission::kRetryAfterMin_ms,
          "shutting_down",
          service_class};
}

void Service::begin_stop(uint64_t limit_ns, std::function<void()> drained) {
  stopping_ = true;
  drained_ = std::move(drained);
  for (uint32_t model = 0; model < served_.size(); ++model) forget_copies(model);
  for (uint32_t line = 0; line < 2 * served_.size(); ++line) {
    for (const RequestId id : admission_.waiting_for(line)) {
      auto& record = *records_.at(id);
      if (record.progress.accepted()) continue;  // it runs: it may end
      end_refused(record, shutting_down(record.spec.service_class));
    }
  }
  stop_timer_.start(limit_ns / kMillisecond_ns);
}

void Service::stop_runners(std::function<void()> done) {
  stopping_ = true;
  runners_stopping_ = true;
  gpus_.begin_stop();
  forget_generations();
  stopped_ = std::move(done);
  std::vector<RequestId> ids;
  for (const auto& [id, record] : records_) ids.push_back(id);
  for (const RequestId id : ids) {
    auto& record = *records_.at(id);
    end_refused(record, shutting_down(record.spec.service_class));
  }
  if (adoption_ != nullptr) adoption_->end_all();
  for (auto& runner : runners_) runner->link->stop();
}

void Service::kill_runners() {
  forget_generations();
  if (adoption_ != nullptr) adoption_->end_all();
  for (auto& runner : runners_) runner->link->kill_now();
  gpus_.kill_now();
}

void Service::check_stopped() {
  if (runners_stopping_) {
    const bool all_gone = std::all_of(runners_.begin(), runners_.end(),
                                      [](const auto& runner) { return runner->link->stopped(); });
    if (!all_gone || !stopped_) return;
    if (!std::exchange(gpus_stopping_, true)) gpus_.stop();
    if (gpus_.stopped()) loop_.defer(std::exchange(stopped_, nullptr));
  } else if (stopping_ && drained_ && records_.empty() && late_.empty()) {
    loop_.defer(std::exchange(drained_, nullptr));
  }
}

}  // namespace deepserve::daemon
