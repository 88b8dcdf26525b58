// Who answers when a model only fails, and what is refused at a glance.
#include <spdlog/spdlog.h>

#include <algorithm>

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

Fallbacks Service::fallbacks_of(const Config& config) {
  std::vector<Fallbacks::OfModel> of_models;
  for (const auto& model : config.models) {
    auto& made = of_models.emplace_back();
    made.has_reply = !model.fallback_reply.empty();
    for (const auto& name : model.fallback) {
      made.models.push_back(static_cast<uint32_t>(config.find_model(name) - config.models.data()));
    }
  }
  return Fallbacks(std::move(of_models));
}

// Whether it is answered here: refused, or with the configured text. Else `spec` names the model that
// answers.
bool Service::fall_back(RequestId id, RequestSpec& spec, ResponseSink& sink, Fallback& taken) {
  const auto* model = config_.find_model(spec.model);
  if (model == nullptr || stopping_) return false;
  std::vector<bool> may_serve;
  for (uint32_t i = 0; i < config_.models.size(); ++i) may_serve.push_back(model_may_serve(i));
  const auto asked = static_cast<uint32_t>(model - config_.models.data());
  auto choice = fallbacks_.choose(asked, may_serve, monotonic_ns());
  if (choice.kind == FallbackKind::kModel && spec.work == ipc::Work::kEmbed) {
    // Another model's embedding would be compared with this one's.
    fallbacks_.ended(choice.model, choice.is_probe, Fallbacks::Verdict::kNone, monotonic_ns());
    choice = {.kind = FallbackKind::kNobody};
  }
  taken.is_probe = choice.is_probe;
  switch (choice.kind) {
    case FallbackKind::kModel:
      spec.model = config_.models[choice.model].name;
      taken.degraded = fmt::format("fallback_model={}", spec.model);
      return false;
    case FallbackKind::kReply:
      if (!takes_reply(spec)) break;
      reply_later(id, sink, model->fallback_reply, std::max<uint16_t>(1, spec.generation.choices));
      return true;
    case FallbackKind::kNobody:
      break;
    default:
      return false;
  }
  if (!may_serve[asked]) return false;  // start() says why
  Refusal refusal;
  refusal.error = {Code::kServerOverloaded,
                   fmt::format("model '{}' has failed too often of late", model->name)};
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
  tell_sink([](ResponseSink& sink) { sink.on_degraded("fallback_reply"); });
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
  const auto verdict = how == EndKind::kFinished ? Fallbacks::Verdict::kSucceeded
                       : failed                  ? Fallbacks::Verdict::kFailed
                                                 : Fallbacks::Verdict::kNone;
  Breaker& breaker = fallbacks_.breaker(record.model);
  const uint64_t now_ns = monotonic_ns();
  const auto before = breaker.state(now_ns);
  fallbacks_.ended(record.model, record.fallback.is_probe, verdict, now_ns);
  const auto after = breaker.state(now_ns);
  if (before == after) return;
  spdlog::warn("model '{}': its circuit breaker is {} now", config_.models[record.model].name,
               breaker_state_name(after));
}

std::optional<Refusal> Service::glance(const RequestSpec& asked) {
  // Which of several models it is for stands in the body.
  if (stopping_ || config_.models.size() != 1 || !model_may_serve(0)) return std::nullopt;
  const auto match =
      match_client(config_, {asked.peer.known, asked.peer.uid, asked.peer.gid, asked.peer.key_client});
  const uint64_t now_ns = monotonic_ns();
  RequestSpec spec = asked;
  spec.service_class = std::max(spec.service_class, match.class_ceiling);
  if (spec.client.empty()) spec.client = match.name;
  // What JSON adds to the prompt of a short request, about; never more than half of it.
  constexpr uint64_t kAround_bytes = 200;
  spec.prompt_bytes = asked.body_bytes - std::min(asked.body_bytes / 2, kAround_bytes);
  const auto& class_config = config_.classes[static_cast<size_t>(spec.service_class)];
  const uint64_t deadline_ns = spec.deadline_ns != 0 ? spec.deadline_ns : now_ns + class_config.deadline_ns;
  const RequestProgress progress(spec.work, spec.generation);
  const Record record{.id = next_id_++,
                      .spec = std::move(spec),
                      .started_ns = now_ns,
                      .deadline_ns = deadline_ns,
                      .progress = progress,
                      .trouble = ""};
  const auto refused = admission_.glance(arrival_of(record, match, 0), now_ns);
  if (!refused) return std::nullopt;
  return refusal_of(*refused, record);
}

}  // namespace deepserve::daemon
