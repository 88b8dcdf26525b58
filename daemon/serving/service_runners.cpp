// Runners come and go; requests go to them and come back when one dies; the stop.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "daemon/serving/service.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

Service::Runner& Service::runner_of(const RunnerLink& link) {
  for (auto& runner : runners_) {
    if (runner->link.get() == &link) return *runner;
  }
  CHECK(false);
}

// Before the loop sleeps: what is due is done, what was sent is published, and the lanes are armed.
void Service::turn() {
  for (auto& runner : runners_) {
    if (runner->taking != runner->link->is_ready()) tell_runner(*runner);
  }
  if (const uint64_t next_ns = admission_.next_ns(); next_ns != 0 && next_ns <= monotonic_ns()) tell(Tick{});
  act();
  for (auto& runner : runners_) runner->link->turn();
  arrange_deadline_timer();
  check_stopped();
}

void Service::arrange_deadline_timer() {
  const uint64_t deadline_ns = admission_.next_ns();
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
  tell(Tick{});
}

// Whether it takes requests, and how fast it is.
void Service::tell_runner(Runner& runner) {
  const auto& link = *runner.link;
  if (runner.taking != link.is_ready()) {
    runner.taking = link.is_ready();
    if (!runner.taking) return tell(RunnerDown{runner.index});
    const auto& facts = *link.facts();
    const RunnerCapacity capacity{facts.sequences_max, facts.kv_blocks, facts.kv_block_tokens,
                                  facts.context_tokens};
    tell(RunnerUp{runner.index, runner.model, capacity});
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

void Service::dispatch(const Dispatch& chosen) {
  const auto found = records_.find(chosen.request);
  if (found == records_.end()) return;
  auto& record = *found->second;
  auto& runner = *runners_[chosen.runner];
  if (record.spec.work == ipc::Work::kGenerate && chosen.tokens_max < record.spec.generation.tokens_max) {
    auto& generation = record.spec.generation;
    generation.tokens_max = chosen.tokens_max;
    generation.tokens_min = std::min(generation.tokens_min, chosen.tokens_max);
    auto& degraded = record.fallback.degraded;
    degraded += degraded.empty() ? "cap_tokens" : ", cap_tokens";
  }
  ipc::Submit submit;
  submit.request = record.id;
  submit.work = record.spec.work;
  submit.service_class = chosen.raised ? ipc::Class::kNormal : record.spec.service_class;
  submit.deadline_ns = record.deadline_ns;
  submit.prompt = record.spec.prompt;
  submit.generation = record.spec.generation;
  submit.resumed = record.progress.resumed();
  const auto* client = reinterpret_cast<const std::byte*>(record.spec.client.data());
  submit.opaque.assign(client, client + record.spec.client.size());
  if (config_.models[record.model].prefix_cache == PrefixCache::kPerClient) {
    submit.prefix_salt = prefix_salt_of(record.spec.client);
  }
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
    return tell(Returned{record.id, record.progress.accepted()});
  }
  const auto cell = request_cell(record.state, RequestEvent::kDispatch);
  CHECK(cell.rule == RequestRule::kGo);
  record.state = cell.next;
  record.runner = &runner;
  record.first_told = false;
  runner.requests.insert(record.id);
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
  std::vector<RequestId> ids(runner.requests.begin(), runner.requests.end());
  std::sort(ids.begin(), ids.end());  // the oldest first
  for (const RequestId id : ids) replay_or_lose(*records_.at(id), blame);
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
  if (!model_may_serve(runner.model)) lose_model(runner.model);
}

void Service::replay_or_lose(Record& record, Blame blame) {
  const bool again = record.progress.on_runner_died(blame);
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
  tell(Returned{record.id, record.progress.accepted()});
}

// No runner of this model is left or will come by itself.
void Service::lose_model(uint32_t model) {
  for (const RequestId id : admission_.waiting_for(model)) {
    auto& record = *records_.at(id);
    const auto service_class = record.spec.service_class;
    if (record.progress.accepted()) {
      end_failed(record, {Code::kRunnerLost, model_trouble(model)});
    } else {
      end_refused(record, {{Code::kModelFailed, model_trouble(model)}, 0, "", service_class});
    }
  }
}

bool Service::model_may_serve(uint32_t model) const {
  return std::any_of(runners_.begin(), runners_.end(), [model](const auto& runner) {
    return runner->model == model && runner->link->supervision().may_become_ready();
  });
}

std::string Service::model_trouble(uint32_t model) const {
  std::string text = fmt::format("no runner of model '{}' is ready", config_.models[model].name);
  for (const auto& runner : runners_) {
    if (runner->model != model) continue;
    const auto& supervision = runner->link->supervision();
    text += fmt::format("; {} is {}", runner->link->id(), runner->link->state_name());
    if (supervision.last_error().empty()) continue;
    text += fmt::format(": {}", told_text(*runner, supervision.last_error()));
  }
  return text;
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
  for (uint32_t model = 0; model < config_.models.size(); ++model) {
    for (const RequestId id : admission_.waiting_for(model)) {
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
  stopped_ = std::move(done);
  std::vector<RequestId> ids;
  for (const auto& [id, record] : records_) ids.push_back(id);
  for (const RequestId id : ids) {
    auto& record = *records_.at(id);
    end_refused(record, shutting_down(record.spec.service_class));
  }
  for (auto& runner : runners_) runner->link->stop();
}

void Service::kill_runners() {
  for (auto& runner : runners_) runner->link->kill_now();
}

void Service::check_stopped() {
  if (runners_stopping_) {
    const bool all_gone = std::all_of(runners_.begin(), runners_.end(),
                                      [](const auto& runner) { return runner->link->stopped(); });
    if (all_gone && stopped_) loop_.defer(std::exchange(stopped_, nullptr));
  } else if (stopping_ && drained_ && records_.empty() && late_.empty()) {
    loop_.defer(std::exchange(drained_, nullptr));
  }
}

}  // namespace deepserve::daemon
