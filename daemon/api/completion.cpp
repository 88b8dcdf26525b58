#include "daemon/api/completion.h"

#include <fmt/format.h>

#include "daemon/api/model_lookup.h"
#include "daemon/api/routes.h"
#include "daemon/http/error_response.h"
#include "daemon/http/json_text.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

double seconds(uint64_t ns) {
  return static_cast<double>(ns) / static_cast<double>(kSecond_ns);
}

// Before its acceptance a runner refuses what it cannot compile as much as what it cannot read: its words say
// which of the two, and the field that had the grammar is at fault for the first.
bool is_about_constraint(const Error& error) {
  const bool is_fault = error.code == Code::kInvalidRequest || error.code == Code::kNotSupported;
  const auto says = [&error](const char* word) { return error.message.find(word) != std::string::npos; };
  return is_fault && (says("grammar") || says("schema"));
}

}  // namespace

Completion::Completion(Exchange& exchange, const ApiParts& parts, CompletionSpec spec)
    : exchange_(exchange),
      serving_(parts.serving),
      metrics_(parts.metrics),
      life_(exchange, parts, spec.request, spec.timeout_ns),
      shape_(std::move(spec.shape)),
      keep_alive_ms_(parts.options.keep_alive_ms),
      answer_bytes_max_(parts.options.answer_bytes_max),
      prompts_(spec.prompts.size()),
      generated_choices_(spec.request.generation.choices),
      choices_(prompts_ * generated_choices_),
      requests_(parts.serving, *this) {
  start(std::move(spec.request), std::move(spec.prompts), spec.seed_given);
  life_.begin(requests_.id(0), *this);
  const AnswerStatus& begun = life_.status();
  text_.emplace(shape_, begun.id, begun.created_unix, begun.service_class);
}

// Each prompt as a request of its own. Equal prompts get different answers, unless the client names the seed:
// then each gets what it would get alone.
void Completion::start(RequestSpec request, std::vector<ipc::Prompt> prompts, bool seed_given) {
  for (ipc::Prompt& prompt : prompts) {
    RequestSpec one = request;
    one.prompt = std::move(prompt);
    one.prompt_bytes = prompt_bytes(one.prompt);
    requests_.start(std::move(one));
    if (!seed_given) ++request.generation.seed;
  }
}

Completion::~Completion() {
  life_.leave(status());
}

void Completion::on_accepted(size_t, const ipc::Accepted& event) {
  life_.count_accepted(event);
  if (shape_.reads_tool_calls) begin_reading_calls();
  if (!all_accepted()) return;
  life_.run();
  last_event_ns_ = monotonic_ns();
  if (!shape_.stream) return;
  HttpResponse head{.content_type = "text/event-stream; charset=utf-8",
                    .fields = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
  life_.announce(head);
  exchange_.start_stream(std::move(head));
}

// How the model writes its calls is known at the latest when one of its runners has accepted the prompt.
void Completion::begin_reading_calls() {
  const auto model = find_model(serving_, life_.status().model);
  if (!model || !model->facts) return;
  const ToolCallFormat format = tool_call_format(model->facts->chat_template);
  for (Choice& choice : choices_) choice.reader = ToolCallReader(format);
}

void Completion::on_delta(size_t prompt, const ipc::Delta& event) {
  if (event.choice >= generated_choices_) return;
  Choice& choice = choices_[prompt * generated_choices_ + event.choice];
  if (!event.echo) observe_delta(choice, static_cast<uint32_t>(event.tokens.size()));
  const size_t old_bytes = choice.held_bytes();
  choice.take(event, shape_.chat, shape_.logprobs);
  held_bytes_ += choice.held_bytes() - old_bytes;
  if (held_bytes_ > answer_bytes_max_) return give_up(too_large());
  if (shape_.stream && !event.text.empty()) exchange_.wake();
}

void Completion::release(Choice& choice) {
  held_bytes_ -= choice.held_bytes();
  choice.release();
}

// What was kept goes at once: a client that reads slowly could hold on to it for a long time yet.
void Completion::give_up(Error error) {
  requests_.forget_all();
  for (Choice& choice : choices_) {
    release(choice);
    choice.finish.reset();
  }
  on_failed(error);
}

Error Completion::too_large() const {
  if (shape_.stream && all_accepted()) {
    return {Code::kSlowReader, fmt::format("more than {} bytes of the answer waited for the client to read "
                                           "them",
                                           answer_bytes_max_)};
  }
  return {Code::kPayloadTooLarge, fmt::format("the answer takes more than {} bytes: ask for fewer choices, "
                                              "tokens or log probabilities, or for a stream",
                                              answer_bytes_max_)};
}

void Completion::observe_delta(Choice& choice, uint32_t tokens) {
  const uint64_t now_ns = monotonic_ns();
  if (tokens != 0) life_.note_first_token();
  if (choice.last_token_ns == 0) {
    metrics_.count_tokens(tokens);
  } else {
    metrics_.observe_tokens(tokens, seconds(now_ns - choice.last_token_ns));
  }
  if (tokens != 0) choice.last_token_ns = now_ns;
}

void Completion::on_finished(size_t prompt, const ipc::Finished& event) {
  if (event.choice < generated_choices_) {
    Choice& choice = choices_[prompt * generated_choices_ + event.choice];
    const size_t old_bytes = choice.held_bytes();
    choice.finish_with(event.reason);
    held_bytes_ += choice.held_bytes() - old_bytes;
  }
  metrics_.count_finished(event.reason);
  if (event.last) {
    ended_usage_.prompt_tokens += event.usage.prompt_tokens;
    ended_usage_.cached_tokens += event.usage.cached_tokens;
    ended_usage_.completion_tokens += event.usage.completion_tokens;
    ended_usage_.drafts_accepted += event.usage.drafts_accepted;
    ended_usage_.drafts_rejected += event.usage.drafts_rejected;
    ++prompts_ended_;
  }
  const bool all_ended = prompts_ended_ == prompts_;
  if (all_ended) {
    life_.finish(status());
  }
  if (shape_.stream) {
    exchange_.wake();
  } else if (all_ended) {
    respond_whole();
  }
}

void Completion::on_refused(const Refusal& refusal) {
  life_.refuse(refusal);
}

void Completion::on_failed(const Error& error) {
  life_.fail(error, status());
  if (all_accepted() && shape_.stream) {
    failure_ = error;
    exchange_.wake();
    return;
  }
  life_.respond_failure(error, is_about_constraint(error) ? shape_.constraint_param : "");
}

AnswerStatus Completion::status() const {
  AnswerStatus status = life_.status();
  status.finish_reasons.clear();
  for (const Choice& choice : choices_) {
    status.finish_reasons.push_back(choice.finish);
    if (prompts_ended_ != prompts_) status.usage.completion_tokens += choice.tokens;
  }
  if (prompts_ended_ == prompts_) status.usage = ended_usage_;
  return status;
}

void Completion::cancel() {
  give_up({Code::kCancelled, "the request was cancelled by its client"});
}

bool Completion::produce(std::string& out) {
  const size_t old_bytes = out.size();
  // A line alone: OpenAI's Python client takes the empty line after a comment for the end of an event.
  if (std::exchange(keep_alive_due_, false)) out += ": keep-alive\n";
  if (!roles_told_ && shape_.chat) {
    for (size_t i = 0; i < choices_.size(); ++i) {
      append_id(out);
      text_->append_role_event(out, i);
    }
  }
  roles_told_ = true;
  for (size_t i = 0; i < choices_.size(); ++i) produce_choice(out, i);
  if (out.size() != old_bytes) last_event_ns_ = monotonic_ns();
  if (failure_) {
    out += "event: error\ndata: ";
    append_error_json(out, *failure_, failure_details(*failure_, life_.status().service_class));
    out += "\n\n";
  } else if (life_.ended()) {
    if (shape_.include_usage) text_->append_usage_event(out, life_.status().usage);
    out += "data: [DONE]\n\n";
  }
  return life_.ended();
}

// All that came since the last time goes into one event.
void Completion::produce_choice(std::string& out, size_t index) {
  Choice& choice = choices_[index];
  const bool finishes = choice.finish.has_value() && !choice.finish_told;
  // Log probabilities of tokens without text wait for the next text, or for the end.
  const bool has_text = !choice.text.empty() || (finishes && !choice.logprobs.empty());
  if (has_text || !choice.calls.empty()) {
    choice.tokens_told = choice.tokens;
    if (has_text) {
      append_id(out);
      text_->append_text_event(out, index, choice.text, choice.logprobs);
    }
    if (!choice.calls.empty()) {
      append_id(out);
      text_->append_tool_calls_event(out, index, choice.calls, choice.calls_told);
    }
    release(choice);
  }
  if (!finishes) return;
  choice.finish_told = true;
  choice.tokens_told = choice.tokens;
  append_id(out);
  text_->append_finish_event(out, index, *choice.finish, choice.has_called());
}

// "id: <request>:<t0>.<t1>": from where a client that lost its connection would go on.
void Completion::append_id(std::string& out) const {
  out += "id: ";
  append_hex16(out, life_.status().id);
  char separator = ':';
  for (const Choice& choice : choices_) {
    out += separator;
    append_number(out, uint64_t{choice.tokens_told});
    separator = '.';
  }
  out += '\n';
}

void Completion::tick(uint64_t now_ns) {
  if (life_.ended()) return;
  if (auto overdue = life_.overdue(now_ns)) return give_up(std::move(*overdue));
  const bool silent = now_ns >= last_event_ns_ + keep_alive_ms_ * kMillisecond_ns;
  if (!all_accepted() || !shape_.stream || !silent) return;
  keep_alive_due_ = true;
  exchange_.wake();
}

void Completion::respond_whole() {
  HttpResponse response;
  text_->begin_whole(response.body);
  size_t told = 0;
  for (size_t prompt = 0; prompt < prompts_; ++prompt) {
    const size_t first = prompt * generated_choices_;
    std::vector<size_t> places;
    if (shape_.choices < generated_choices_) {
      places = best_choices(choices_, first, generated_choices_, shape_.choices);
    } else {
      for (size_t i = 0; i < generated_choices_; ++i) places.push_back(first + i);
    }
    for (const size_t place : places) {
      Choice& choice = choices_[place];
      text_->append_whole_choice(response.body, told++, choice.text, choice.calls, choice.logprobs,
                                 choice.finish.value_or(ipc::FinishReason::kStop));
      release(choice);
    }
  }
  text_->end_whole(response.body, life_.status().usage);
  life_.announce(response);
  exchange_.respond(std::move(response));
}

}  // namespace deepserve::daemon
