#include "daemon/api/completion.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "daemon/api/api.h"
#include "daemon/http/error_response.h"
#include "daemon/http/json_text.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

double seconds(uint64_t ns) {
  return static_cast<double>(ns) / static_cast<double>(kSecond_ns);
}

void log_end(ipc::RequestId id, const Error& error) {
  const ErrorRow& row = error_row(error.code);
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn, spdlog::level::err};
  spdlog::log(kLevels[static_cast<size_t>(row.log_level)], "request {}: {}: {}", hex16(id), row.name,
              error.message);
}

}  // namespace

Completion::Completion(Exchange& exchange, Serving& serving, Metrics& metrics, CompletionSpec spec,
                       const ApiOptions& options)
    : exchange_(exchange),
      serving_(serving),
      metrics_(metrics),
      shape_(std::move(spec.shape)),
      service_class_(spec.request.service_class),
      logprobs_(spec.request.generation.logprobs),
      keep_alive_ms_(options.keep_alive_ms),
      answer_bytes_max_(options.answer_bytes_max),
      started_ns_(monotonic_ns()),
      choices_(spec.request.generation.choices) {
  id_ = serving.start(std::move(spec.request), *this);
  exchange.set_request_id(id_);
  text_.emplace(shape_, id_, unix_seconds());
}

Completion::~Completion() {
  if (ended_) return;
  metrics_.count_failed(Code::kCancelled, seconds_since_start());
  serving_.forget(id_);
}

double Completion::seconds_since_start() const {
  return seconds(monotonic_ns() - started_ns_);
}

void Completion::on_accepted(const ipc::Accepted& event) {
  accepted_ = true;
  last_event_ns_ = monotonic_ns();
  metrics_.count_accepted(service_class_, seconds(last_event_ns_ - started_ns_), event.prompt_tokens);
  if (!shape_.stream) return;
  exchange_.start_stream({.content_type = "text/event-stream; charset=utf-8",
                          .fields = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
}

void Completion::on_delta(const ipc::Delta& event) {
  if (event.choice >= choices_.size()) return;
  Choice& choice = choices_[event.choice];
  observe_delta(choice, static_cast<uint32_t>(event.tokens.size()));
  choice.tokens += static_cast<uint32_t>(event.tokens.size());
  const size_t old_bytes = choice.held_bytes();
  choice.text += event.text;
  if (logprobs_ != ipc::kNoLogprobs) {
    for (const auto& alternatives : event.logprobs) choice.logprobs.add(shape_.chat, logprobs_, alternatives);
  }
  held_bytes_ += choice.held_bytes() - old_bytes;
  if (held_bytes_ > answer_bytes_max_) return give_up();
  if (shape_.stream && !event.text.empty()) exchange_.wake();
}

void Completion::release(Choice& choice) {
  held_bytes_ -= choice.held_bytes();
  clear_keeping_little(choice.text);
  choice.logprobs.clear();
}

// What was kept goes at once: a client that reads slowly could hold on to it for a long time yet.
void Completion::give_up() {
  serving_.forget(id_);
  for (Choice& choice : choices_) {
    release(choice);
    choice.finish.reset();
  }
  if (shape_.stream) {
    on_failed(
        {Code::kSlowReader, fmt::format("more than {} bytes of the answer waited for the client to read them",
                                        answer_bytes_max_)});
  } else {
    on_failed({Code::kPayloadTooLarge,
               fmt::format("the answer takes more than {} bytes: ask for fewer choices, tokens or log "
                           "probabilities, or for a stream",
                           answer_bytes_max_)});
  }
}

void Completion::observe_delta(Choice& choice, uint32_t tokens) {
  const uint64_t now_ns = monotonic_ns();
  if (!first_token_seen_ && tokens != 0) {
    first_token_seen_ = true;
    metrics_.observe_first_token(service_class_, seconds(now_ns - started_ns_));
  }
  if (choice.last_token_ns == 0) {
    metrics_.count_tokens(tokens);
  } else {
    metrics_.observe_tokens(tokens, seconds(now_ns - choice.last_token_ns));
  }
  if (tokens != 0) choice.last_token_ns = now_ns;
}

void Completion::on_finished(const ipc::Finished& event) {
  if (event.choice < choices_.size()) choices_[event.choice].finish = event.reason;
  metrics_.count_finished(event.reason);
  if (event.last) {
    ended_ = true;
    usage_ = event.usage;
    metrics_.observe_whole(seconds_since_start());
  }
  if (shape_.stream) {
    exchange_.wake();
  } else if (event.last) {
    respond_whole();
  }
}

void Completion::on_refused(const Refusal& refusal) {
  ended_ = true;
  const ErrorDetails details = refusal_details(refusal);
  metrics_.count_refused(service_class_,
                         details.reason.empty() ? error_row(refusal.error.code).name : details.reason);
  log_end(id_, refusal.error);
  exchange_.respond(error_response(refusal.error, details));
}

void Completion::on_failed(const Error& error) {
  ended_ = true;
  metrics_.count_failed(error.code, seconds_since_start());
  log_end(id_, error);
  if (accepted_ && shape_.stream) {
    failure_ = error;
    exchange_.wake();
    return;
  }
  exchange_.respond(error_response(error, failure_details(error, service_class_)));
}

bool Completion::produce(std::string& out) {
  const size_t old_bytes = out.size();
  if (std::exchange(keep_alive_due_, false)) out += ": keep-alive\n\n";
  if (!roles_told_ && shape_.chat) {
    for (uint16_t i = 0; i < choices_.size(); ++i) {
      append_id(out);
      text_->append_role_event(out, i);
    }
  }
  roles_told_ = true;
  for (uint16_t i = 0; i < choices_.size(); ++i) produce_choice(out, i);
  if (out.size() != old_bytes) last_event_ns_ = monotonic_ns();
  if (failure_) {
    out += "event: error\ndata: ";
    append_error_json(out, *failure_, failure_details(*failure_, service_class_));
    out += "\n\n";
  } else if (ended_) {
    if (shape_.include_usage) text_->append_usage_event(out, usage_);
    out += "data: [DONE]\n\n";
  }
  return ended_;
}

// All that came since the last time goes into one event.
void Completion::produce_choice(std::string& out, uint16_t index) {
  Choice& choice = choices_[index];
  const bool finishes = choice.finish.has_value() && !choice.finish_told;
  // Log probabilities of tokens without text wait for the next text, or for the end.
  if (!choice.text.empty() || (finishes && !choice.logprobs.empty())) {
    choice.tokens_told = choice.tokens;
    append_id(out);
    text_->append_text_event(out, index, choice.text, choice.logprobs);
    release(choice);
  }
  if (!finishes) return;
  choice.finish_told = true;
  choice.tokens_told = choice.tokens;
  append_id(out);
  text_->append_finish_event(out, index, *choice.finish);
}

// "id: <request>:<t0>.<t1>": from where a client that lost its connection would go on.
void Completion::append_id(std::string& out) const {
  out += "id: ";
  append_hex16(out, id_);
  char separator = ':';
  for (const Choice& choice : choices_) {
    out += separator;
    append_number(out, uint64_t{choice.tokens_told});
    separator = '.';
  }
  out += '\n';
}

void Completion::tick(uint64_t now_ns) {
  if (!accepted_ || ended_ || !shape_.stream || now_ns < last_event_ns_ + keep_alive_ms_ * kMillisecond_ns)
    return;
  keep_alive_due_ = true;
  exchange_.wake();
}

void Completion::respond_whole() {
  HttpResponse response;
  text_->begin_whole(response.body);
  for (uint16_t i = 0; i < choices_.size(); ++i) {
    Choice& choice = choices_[i];
    text_->append_whole_choice(response.body, i, choice.text, choice.logprobs,
                               choice.finish.value_or(ipc::FinishReason::kStop));
    release(choice);
  }
  text_->end_whole(response.body, usage_);
  exchange_.respond(std::move(response));
}

}  // namespace deepserve::daemon
