// Who answers when a model only fails, and what is refused at a glance.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "daemon/admission/prompt_cut.h"
#include "daemon/serving/caller.h"
#include "daemon/serving/service.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

// A text stands for a generated answer alone, and only where nothing binds its form.
bool takes_reply(const RequestSpec& spec) {
  return spec.work == ipc::Work::kGenerate && spec.generation.constraint.kind == ipc::ConstraintKind::kNone &&
         spec.generation.tokens_max != 0;
}

}  // namespace

void add_degraded(Degraded& degraded, std::string_view how) {
  if (!degraded.how.empty()) degraded.how += ", ";
  degraded.how += how;
}

std::vector<Fallbacks::OfModel> Service::fallbacks_of_models() const {
  std::vector<Fallbacks::OfModel> of_models;
  for (const auto& served : served_) {
    auto& made = of_models.emplace_back();
    if (!served->configured) continue;
    made.has_reply = !served->config.fallback_reply.empty();
    for (const auto& name : served->config.fallback) made.models.push_back(find_model(name).value());
  }
  return of_models;
}

std::vector<bool> Service::who_may_serve() const {
  std::vector<bool> may_serve;
  for (uint32_t i = 0; i < served_.size(); ++i)
    may_serve.push_back(served_[i]->configured && model_may_serve(i));
  return may_serve;
}

// Less of a long prompt where its client agreed to that, rather than a refusal. What is only scored or told
// again is served whole or not at all.
void Service::truncate(Record& record, const ClientMatch& client) {
  auto& spec = record.spec;
  const bool generates = spec.work == ipc::Work::kGenerate && spec.generation.tokens_max != 0;
  if (!generates || spec.generation.echo) return;
  const double part = admission_.prompt_part(arrival_of(record, client, 0), monotonic_ns());
  if (part >= 1.0) return;
  const uint64_t bytes =
      cut_prompt(spec.prompt, static_cast<uint64_t>(part * static_cast<double>(spec.prompt_bytes)));
  if (bytes == 0) return;
  spec.prompt_bytes -= std::min(bytes, spec.prompt_bytes);
  record.fallback.degraded.truncated_bytes = bytes;
  add_degraded(record.fallback.degraded, kTruncatedContext);
}

// Whether it is answered here: refused, or with the configured text. Else `spec` names the model that
// answers.
bool Service::fall_back(RequestId id, RequestSpec& spec, const Agreement& agreed, ResponseSink& sink,
                        Fallback& taken) {
  const auto found = find_model(spec.model);
  if (!found || stopping_) return false;
  const uint32_t asked = *found;
  const auto& config = served_[asked]->config;
  const auto may_serve = who_may_serve();
  auto choice = fallbacks_.choose(asked, may_serve, monotonic_ns());
  if (choice.kind == FallbackKind::kModel && spec.work == ipc::Work::kEmbed) {
    // Another model's embedding would be compared with this one's.
    fallbacks_.ended(choice.model, choice.is_probe, Fallbacks::Verdict::kNone, monotonic_ns());
    choice = {.kind = FallbackKind::kNobody};
  }
  taken.is_probe = choice.is_probe;
  const bool may_substitute = admission_.brownout() >= BrownoutLevel::kSubstitute && agreed.smaller_model &&
                              spec.service_class != ipc::Class::kVip && spec.work == ipc::Work::kGenerate;
  if (choice.kind == FallbackKind::kItself && !choice.is_probe && may_substitute) {
    if (const auto other = fallbacks_.substitute(asked, may_serve, monotonic_ns())) {
      spec.model = served_[*other]->config.name;
      add_degraded(taken.degraded, fmt::format("{}={}", kSmallerModel, spec.model));
      return false;
    }
  }
  switch (choice.kind) {
    case FallbackKind::kModel:
      spec.model = served_[choice.model]->config.name;
      add_degraded(taken.degraded, fmt::format("fallback_model={}", spec.model));
      return false;
    case FallbackKind::kReply:
      if (!takes_reply(spec)) break;
      reply_later(id, sink, config.fallback_reply, std::max<uint16_t>(1, spec.generation.choices));
      return true;
    case FallbackKind::kNobody:
      break;
    default:
      return false;
  }
  if (!may_serve[asked]) return false;  // start() says why
  Refusal refusal;
  refusal.error = {Code::kServerOverloaded,
                   fmt::format("model '{}' has failed too often of late", config.name)};
  refusal.retry_after_ms = fallbacks_.breaker(asked).passes_in_ms(monotonic_ns());
  refusal.reason = refusal_reason_name(RefusalReason::kBreakerOpen);
  refusal.service_class = spec.service_class;
  refuse_later(id, sink, std::move(refusal));
  return true;
}

void Service::reply_later(RequestId id, ResponseSink& sink, const std::string& text, uint16_t choices) {
  late_.emplace(id, LateOutcome{&sink, Refusal(), false});
  loop_.defer([this, id, text, choices] { reply(id, text, choices); });
}

// Any call may be the last: its sink may be forgotten, and gone, by what it does in it.
void Service::reply(RequestId id, const std::string& text, uint16_t choices) {
  const auto tell_sink = [this, id](auto tell) {
    const auto late = late_.find(id);
    if (late != late_.end()) tell(*late->second.sink);
  };
  tell_sink([](ResponseSink& sink) { sink.on_degraded({"fallback_reply", 0}); });
  tell_sink(
      [&](ResponseSink& sink) { sink.on_accepted({.request = id, .prompt_tokens = 0, .cached_tokens = 0}); });
  for (uint16_t choice = 0; choice < choices; ++choice) {
    ipc::Delta delta;
    delta.request = id;
    delta.choice = choice;
    delta.text = text;
    tell_sink([&](ResponseSink& sink) { sink.on_delta(delta); });
    ipc::Finished finished;
    finished.request = id;
    finished.choice = choice;
    finished.last = choice + 1 == choices;
    tell_sink([&](ResponseSink& sink) {
      if (finished.last) late_.erase(id);
      sink.on_finished(finished);
    });
  }
}

// Its end, for the breaker of the model that it was sent to.
void Service::judge_model(const Record& record, EndKind how) {
  const bool failed = how == EndKind::kFailed && record.model_failed;
  // A canary has its own judge, and what ends on the generation before says nothing of this one.
  const bool of_live =
      record.line == live_line(record.model) &&
      (record.runner == nullptr || record.runner->generation == served_[record.model]->rollout.routed());
  const auto verdict = !of_live                    ? Fallbacks::Verdict::kNone
                       : how == EndKind::kFinished ? Fallbacks::Verdict::kSucceeded
                       : failed                    ? Fallbacks::Verdict::kFailed
                                                   : Fallbacks::Verdict::kNone;
  Breaker& breaker = fallbacks_.breaker(record.model);
  const uint64_t now_ns = monotonic_ns();
  const auto before = breaker.state(now_ns);
  fallbacks_.ended(record.model, record.fallback.is_probe, verdict, now_ns);
  const auto after = breaker.state(now_ns);
  if (before == after) return;
  spdlog::warn("model '{}': its circuit breaker is {} now", served_[record.model]->config.name,
               breaker_state_name(after));
}

// Of the models that the body may name, and of the classes up to its client's, whether each would refuse it.
// Where one might not: nothing. Else where it would take longest, for its slot.
std::optional<Arrived> Service::surely_late(const Record& record, const ClientMatch& client,
                                            uint64_t now_ns) const {
  const auto& spec = record.spec;
  const auto highest = static_cast<uint8_t>(spec.service_class);
  const auto lowest = static_cast<uint8_t>(spec.class_named ? spec.service_class : ipc::Class::kBatch);
  const auto usual =
      spec.class_named ? spec.service_class : std::max(ipc::Class::kNormal, client.class_ceiling);
  auto event = arrival_of(record, client, 0);
  event.any_model = config_.models.size() > 1;
  event.any_class = lowest != highest;
  if (!event.any_model && !event.any_class) return event;  // the refusal itself looks at it
  uint32_t latest = event.model;
  double latest_s = 0;
  for (uint8_t number = lowest + 1; number-- > highest;) {  // the lowest waits longest and has most time
    event.service_class = static_cast<ipc::Class>(number);
    for (uint32_t model = 0; model < served_.size(); ++model) {
      if (!served_[model]->configured) continue;
      event.model = live_line(model);
      const auto late_s = admission_.too_late_by_glance(event, now_ns);
      if (!late_s) return std::nullopt;
      if (event.service_class != usual || *late_s < latest_s) continue;
      latest = event.model;
      latest_s = *late_s;
    }
  }
  event.service_class = usual;
  event.model = latest;
  return event;
}

std::optional<Refusal> Service::glance(const RequestSpec& asked) {
  if (stopping_) return std::nullopt;
  for (const auto& model : config_.models) {
    if (!model_may_serve(find_model(model.name).value())) return std::nullopt;
  }
  const auto match = match_client(config_, caller_of(asked.peer));
  const uint64_t now_ns = monotonic_ns();
  RequestSpec spec = asked;
  // Without a word of it in the head the body may name any class up to its client's.
  spec.service_class =
      asked.class_named ? std::max(spec.service_class, match.class_ceiling) : match.class_ceiling;
  if (spec.client.empty()) spec.client = match.name;
  // What JSON adds to the prompt of a short request, about; never more than half of it.
  constexpr uint64_t kAround_bytes = 200;
  spec.prompt_bytes = asked.body_bytes - std::min(asked.body_bytes / 2, kAround_bytes);
  const bool truncates = agreement_of(spec, match).truncated_context;
  const RequestProgress progress(spec.work, spec.generation);
  const uint32_t usual = find_model("").value();
  Record record{.id = next_id_++,
                .spec = std::move(spec),
                .model = usual,
                .line = live_line(usual),
                .started_ns = now_ns,
                .progress = progress,
                .trouble = ""};
  const auto event = surely_late(record, match, now_ns);
  if (!event) return std::nullopt;
  // A shorter prompt may do; how short it can be made is known once it is read.
  if (truncates && admission_.prompt_part(*event, now_ns) < 1) return std::nullopt;
  const auto refused = admission_.glance(*event, now_ns);
  if (!refused) return std::nullopt;
  const auto& of_class = config_.classes[static_cast<size_t>(event->service_class)];
  record.line = event->model;
  record.model = record.line / 2;
  record.deadline_ns = event->deadline_ns != 0 ? event->deadline_ns : now_ns + of_class.deadline_ns;
  return refusal_of(*refused, record);
}

}  // namespace deepserve::daemon
