#include "daemon/serving/service.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "daemon/serving/caller.h"
#include "daemon/serving/kept_request.h"
#include "ipc/base/check.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

AdmissionOptions admission_of(const Config& config, const ServiceOptions& options, size_t models) {
  AdmissionOptions admission;
  for (size_t i = 0; i < kClasses; ++i) {
    const auto& of_class = config.classes[i];
    admission.classes[i] = {of_class.share, of_class.queue_max, of_class.deadline_ns};
  }
  // Each has a line, and one for its canary.
  admission.models = 2 * static_cast<uint32_t>(models);
  admission.bytes_max = Service::kWaitingBytesMax;
  // A step to which nobody agreed would only hold up the next one.
  for (const auto& client : config.clients) {
    admission.brownout.truncate = admission.brownout.truncate || client.agreement.truncated_context;
    admission.brownout.substitute = admission.brownout.substitute || client.agreement.smaller_model;
  }
  admission.ticket_key = options.ticket_key;
  admission.ticket_epoch = options.ticket_epoch;
  admission.first_booking = options.first_request;
  return admission;
}

GpuFacts facts_of(const GpuMonitor* monitor) {
  if (monitor == nullptr) return {};
  GpuFacts facts;
  facts.free_bytes = [monitor](const std::string& name, uint64_t since_ns) -> std::optional<uint64_t> {
    const GpuState* gpu = monitor->named(name);
    if (gpu == nullptr || !gpu->answers(monotonic_ns())) return std::nullopt;
    return gpu->read_ns < since_ns ? uint64_t{0} : gpu->reading.memory_free_bytes;  // else it is not seen yet
  };
  facts.uuid = [monitor](const std::string& name) {
    const GpuState* gpu = monitor->named(name);
    return gpu == nullptr ? std::string() : gpu->identity.uuid;
  };
  return facts;
}

}  // namespace

Service::Service(Loop& loop, const Config& config, ServiceOptions options)
    : loop_(loop),
      config_(config),
      options_(std::move(options)),
      started_unix_(static_cast<uint64_t>(unix_seconds())),
      gpus_(loop, options_.mps_dir, facts_of(options_.gpus)),
      admission_(admission_of(config, options_, 0)),
      fallbacks_({}),
      next_id_(options_.first_request),
      deadline_timer_(loop, [this] { timer_deadline_ns_ = 0; }),
      tick_timer_(loop, [this] { tick(); }),
      stop_timer_(loop,
                  [this] {
                    if (drained_) loop_.defer(std::exchange(drained_, nullptr));
                  }),
      prepare_(loop, [this] { turn(); }) {
  CHECK(next_id_ != 0);
  begin_generations();
  begin_runners();
  tick_timer_.start(RunnerLink::kTick_ms, RunnerLink::kTick_ms);
}

Service::~Service() = default;

AdmissionOptions Service::admission_options() const {
  return admission_of(config_, options_, served_.size());
}

// By name or alias; empty: the default one. Nothing: none that is configured.
std::optional<uint32_t> Service::find_model(std::string_view name) const {
  const auto* found = config_.find_model(name);
  return found == nullptr ? std::nullopt : known_model(found->name);
}

// By name, also one that goes or is gone.
std::optional<uint32_t> Service::known_model(std::string_view name) const {
  for (uint32_t model = 0; model < served_.size(); ++model) {
    if (served_[model]->config.name == name) return model;
  }
  return std::nullopt;
}

std::optional<Refusal> Service::reason_to_refuse(const RequestSpec& spec) const {
  const auto refuse = [&spec](Error error, uint64_t retry_after_ms, std::string reason) {
    return Refusal{std::move(error), retry_after_ms, std::move(reason), spec.service_class};
  };
  if (stopping_) return shutting_down(spec.service_class);
  const auto found = find_model(spec.model);
  if (!found) {
    std::vector<std::string> names;
    for (const auto& one : config_.models) names.push_back(one.name);
    return refuse({Code::kModelNotFound,
                   fmt::format("there is no model '{}'; there are: {}", spec.model, fmt::join(names, ", "))},
                  0, "");
  }
  const uint32_t index = *found;
  if (auto refusal = drained_refusal(index, spec.service_class)) return refusal;
  if (!model_may_serve(index)) {
    return refuse(model_trouble(index), retry_after_ms(index), "");
  }
  if (const uint64_t bytes = submit_bytes(spec); bytes > RunnerLink::kBodyBytesMax) {
    return refuse({Code::kPayloadTooLarge,
                   fmt::format("the request takes {} bytes on its way to a runner, which takes {} at most",
                               bytes, RunnerLink::kBodyBytesMax)},
                  0, "");
  }
  return std::nullopt;
}

Arrived Service::arrival_of(const Record& record, const ClientMatch& client, uint64_t bytes) const {
  const auto& spec = record.spec;
  const bool generates = spec.work == ipc::Work::kGenerate;
  Arrived arrived;
  arrived.request = record.id;
  arrived.model = record.line;
  arrived.service_class = spec.service_class;
  arrived.client = spec.client;
  arrived.client_weight = client.weight;
  arrived.rules = {client.concurrent_max, client.tokens_per_minute};
  arrived.choices = generates ? std::max<uint32_t>(1, spec.generation.choices) : 1;
  arrived.prompt_bytes = spec.prompt_bytes;
  arrived.prompt_tokens = static_cast<uint32_t>(spec.prompt.tokens.size());
  arrived.tokens_max = generates ? spec.generation.tokens_max : 0;
  arrived.deadline_ns = spec.deadline_ns;
  arrived.bytes = bytes;
  arrived.body_hash = spec.body_hash;
  arrived.body_bytes = spec.body_bytes;
  arrived.ticket = spec.ticket;
  arrived.is_retry = spec.is_retry;
  if (generates && served_[record.model]->config.prefix_cache != PrefixCache::kOff) {
    arrived.prefix = prefix_of(spec.prompt, salt_of(record));
  }
  if (spec.whole_parts > 1) {
    arrived.whole = spec.whole != 0 ? spec.whole : record.id;
    arrived.whole_parts = spec.whole_parts;
    arrived.whole_prompt_bytes = spec.whole_prompt_bytes;
  }
  return arrived;
}

// Whose prompts may share what a runner has computed of it.
ipc::PrefixSalt Service::salt_of(const Record& record) const {
  const bool shares = served_[record.model]->config.prefix_cache != PrefixCache::kPerClient;
  return shares ? ipc::PrefixSalt() : prefix_salt_of(record.spec.client);
}

std::string Service::refusal_text(const Refuse& refused, const Record& record) const {
  switch (refused.reason) {
    case RefusalReason::kQueueFull:
      return fmt::format("the queue of class {} is full ({} wait, {} bytes of all classes)",
                         class_name(refused.service_class),
                         admission_.waiting(refused.service_class, record.line), admission_.waiting_bytes());
    case RefusalReason::kClientRequests:
      return fmt::format("client {} has as many requests at once as it may", record.spec.client);
    case RefusalReason::kClientTokens:
      return fmt::format("client {} has had its tokens of this minute", record.spec.client);
    case RefusalReason::kRetryBudget:
      return fmt::format("client {} repeats requests before the time that it was told", record.spec.client);
    case RefusalReason::kBrownout:
      return fmt::format("class {} is not served at present", class_name(refused.service_class));
    case RefusalReason::kBreakerOpen:
      return fmt::format("model '{}' has failed too often of late", served_[record.model]->config.name);
    default:
      break;
  }
  return monotonic_ns() >= record.deadline_ns
             ? "no runner had room before the request's deadline"
             : "no runner would have its first token ready before the request's deadline";
}

// Why, and when it is worth coming back.
Refusal Service::refusal_of(const Refuse& refused, const Record& record) const {
  Refusal refusal;
  refusal.error = {refused.code, refusal_text(refused, record)};
  refusal.retry_after_ms = refused.retry_after_ms;
  refusal.reason = refusal_reason_name(refused.reason);
  refusal.service_class = refused.service_class;
  refusal.predicted_ttft_ns = refused.predicted_ttft_ns;
  refusal.deadline_ns = refused.deadline_ns;
  refusal.booked = refused.booked;
  refusal.ticket = refused.ticket;
  refusal.degraded = brownout_announcement(admission_.brownout(), refused.service_class);
  return refusal;
}

Agreement Service::agreement_of(const RequestSpec& spec, const ClientMatch& client) {
  Agreement agreed = spec.agreed.value_or(client.agreement);
  agreed.truncated_context = spec.truncates.value_or(agreed.truncated_context);
  return agreed;
}

RequestId Service::start(RequestSpec spec, ResponseSink& sink) {
  while (records_.contains(next_id_)) ++next_id_;  // an adopted one has it
  const RequestId id = next_id_++;
  const auto match = match_client(config_, caller_of(spec.peer));
  const Agreement agreed = agreement_of(spec, match);
  spec.service_class = std::max(spec.service_class, match.class_ceiling);  // a higher class is a lower number
  if (spec.client.empty()) spec.client = match.name;
  Fallback fallback;
  if (fall_back(id, spec, agreed, sink, fallback)) return id;
  if (auto refusal = reason_to_refuse(spec)) {
    if (fallback.is_probe) {
      fallbacks_.breaker(find_model(spec.model).value()).probe_lost(monotonic_ns());
    }
    refuse_later(id, sink, std::move(*refusal));
    return id;
  }
  const uint64_t now_ns = monotonic_ns();
  const auto& class_config = config_.classes[static_cast<size_t>(spec.service_class)];
  const uint32_t model = find_model(spec.model).value();
  const uint64_t deadline_ns = spec.deadline_ns != 0 ? spec.deadline_ns : now_ns + class_config.deadline_ns;
  const RequestProgress progress(spec.work, spec.generation);
  auto record = std::make_unique<Record>(Record{id, std::move(spec), model, live_line(model), now_ns,
                                                deadline_ns, &sink, RequestState::kQueued, nullptr, progress,
                                                true, false, "", std::move(fallback)});
  demand(model);
  record->line = line_of(model, record->spec);
  record->tried = served_[model]->rollout.canary_number();
  begin_trace(*record);
  if (agreed.truncated_context) truncate(*record, match);
  const auto arrived = arrival_of(*record, match, submit_bytes(record->spec));
  records_.emplace(id, std::move(record));
  tell(arrived);
  act();
  return id;
}

// Its sink hears of it from the loop, unless it is forgotten before.
void Service::tell_later(RequestId id, LateOutcome outcome) {
  late_.emplace(id, std::move(outcome));
  loop_.defer([this, id] {
    const auto late = late_.extract(id);
    if (late.empty()) return;
    const auto& told = late.mapped();
    if (told.failed) {
      told.sink->on_failed(told.refusal.error);
    } else {
      told.sink->on_refused(told.refusal);
    }
  });
}

void Service::refuse_later(RequestId id, ResponseSink& sink, Refusal refusal) {
  tell_later(id, {&sink, std::move(refusal), false});
}

void Service::fail_later(RequestId id, ResponseSink& sink, Error error) {
  Refusal wrapped;
  wrapped.error = std::move(error);
  tell_later(id, {&sink, std::move(wrapped), true});
}

// The end of a request that no runner has, or will ever end. Once it was accepted it is too late for a
// refusal.
void Service::end_refused(Record& record, Refusal refusal) {
  if (record.progress.accepted()) return end_failed(record, std::move(refusal.error));
  note(record, TraceKind::kRefused, 0,
       refusal.reason.empty() ? std::string(error_row(refusal.error.code).name) : refusal.reason);
  if (record.sink != nullptr) refuse_later(record.id, *record.sink, std::move(refusal));
  erase(record);
}

void Service::end_failed(Record& record, Error error) {
  record.model_failed = error.code == Code::kRunnerLost;
  note(record, TraceKind::kFailed, record.progress.generated_tokens(),
       std::string(error_row(error.code).name));
  if (record.sink != nullptr) fail_later(record.id, *record.sink, std::move(error));
  erase(record, EndKind::kFailed);
}

// Nobody listens any more: it leaves the queue, or its runner is told to cancel and the record waits for the
// answer.
void Service::let_go(Record& record) {
  const auto cell = request_cell(record.state, RequestEvent::kLetGo);
  note(record, TraceKind::kLetGo, record.progress.generated_tokens());
  record.state = cell.next;
  record.sink = nullptr;
  if (cell.rule == RequestRule::kDrop) return erase(record);
  if (cell.rule != RequestRule::kCancel) return;
  record.runner->link->send_surely(ipc::MessageType::kCancel, ipc::Cancel{record.id}.encode());
}

void Service::erase(Record& record, EndKind how) {
  const Ended ended{record.id, how, record.progress.generated_tokens()};
  const bool in_admission = record.in_admission;
  judge_model(record, how);
  end_trace(record, how);
  judge_canary(record, how);
  served_[record.model]->used_ns = monotonic_ns();
  served_[record.model]->paused = true;
  leave_runner(record);
  if (how == EndKind::kFinished && is_mirrored(record)) mirror(record);
  records_.erase(ended.request);
  if (in_admission) tell(ended);
}

void Service::forget(RequestId id) {
  late_.erase(id);
  if (const auto record = records_.find(id); record != records_.end()) let_go(*record->second);
}

Result<void> Service::cancel(RequestId id) {
  const auto found = records_.find(id);
  if (found == records_.end() || found->second->sink == nullptr) {
    return fail(Code::kNotFound, "there is no request {:016x}", id);
  }
  fail_later(id, *found->second->sink, {Code::kCancelled, "the request was cancelled by an operator"});
  let_go(*found->second);
  return {};
}

uint64_t Service::query(const std::string& model_name, ipc::Query query, QueryDone done) {
  const uint64_t id = ++next_query_;
  query.query = id;
  const auto later = [this, id, &done](Runner* runner, Error error) {
    queries_.emplace(id, PendingQuery{runner, std::move(done)});
    loop_.defer([this, id, error = std::move(error)] {
      auto pending = queries_.extract(id);
      if (!pending.empty()) pending.mapped().done(tl::unexpected<Error>(error));
    });
    return id;
  };
  RequestSpec spec;
  spec.model = model_name;
  if (auto refusal = reason_to_refuse(spec)) return later(nullptr, std::move(refusal->error));
  if (queries_.size() >= kQueriesMax)
    return later(nullptr, {Code::kServerOverloaded, "too many questions wait"});
  const uint32_t model = find_model(model_name).value();
  const auto body = query.encode();
  const RunnerLink* full = nullptr;
  for (auto& runner : runners_) {
    if (runner->model != model || !runner->routed || !runner->link->is_ready()) continue;
    if (body.size() > runner->link->body_bytes_max()) {
      return later(nullptr, {Code::kPayloadTooLarge, fmt::format("the question is larger than {} bytes",
                                                                 runner->link->body_bytes_max())});
    }
    full = runner->link.get();
    if (!runner->link->send(ipc::MessageType::kQuery, body)) continue;
    queries_.emplace(id, PendingQuery{runner.get(), std::move(done)});
    return id;
  }
  if (full != nullptr) {
    return later(nullptr, {Code::kServerOverloaded,
                           fmt::format("runner {} has no room for another question", full->id())});
  }
  return later(nullptr, {Code::kModelNotReady, model_trouble(model).message});
}

void Service::restart_runner(const std::string& id, std::function<void(Result<void>)> done) {
  std::vector<std::string> ids;
  for (auto& runner : runners_) {
    if (runner->link->id() == id && !stopping_) return runner->link->restart(std::move(done));
    ids.push_back(runner->link->id());
  }
  auto error = stopping_ ? Error{Code::kShuttingDown, "the server is shutting down"}
                         : Error{Code::kNotFound, fmt::format("there is no runner '{}'; there are: {}", id,
                                                              fmt::join(ids, ", "))};
  loop_.defer([done = std::move(done), error = std::move(error)] { done(tl::unexpected<Error>(error)); });
}

}  // namespace deepserve::daemon
