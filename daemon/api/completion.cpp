#include "daemon/api/completion.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/admission/prompt_cut.h"
#include "daemon/api/model_lookup.h"
#include "daemon/api/routes.h"
#include "daemon/api/stream_reader.h"
#include "daemon/api/whole_reader.h"
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

Completion::Completion(const ApiParts& parts, CompletionSpec spec, const AnswerTerms& terms, bool keeps)
    : LiveAnswer(parts, spec.request, terms),
      serving_(parts.serving),
      metrics_(parts.metrics),
      shape_(spec.shape),
      keep_alive_ms_(parts.options.keep_alive_ms),
      answer_bytes_max_(parts.options.answer_bytes_max),
      prompts_(spec.prompts.size()),
      generated_choices_(spec.request.generation.choices),
      choices_(prompts_ * generated_choices_),
      requests_(parts.serving, *this) {
  if (keeps) keep();
  start(std::move(spec), terms);
  life_.begin(requests_.id(0), *this);
  const AnswerStatus& begun = life_.status();
  text_.emplace(shape_, begun.id, begun.created_unix, begun.service_class);
}

Completion::Completion(const ApiParts& parts, RequestId id, const RequestSpec& first, const AnswerBlob& blob)
    : LiveAnswer(parts, first, blob.terms),
      serving_(parts.serving),
      metrics_(parts.metrics),
      shape_(blob.shape),
      keep_alive_ms_(parts.options.keep_alive_ms),
      answer_bytes_max_(parts.options.answer_bytes_max),
      prompts_(first.whole_parts),
      generated_choices_(first.generation.choices),
      choices_(prompts_ * generated_choices_),
      adopted_ns_(monotonic_ns()),
      requests_(parts.serving, *this) {
  keep();
  requests_.await(prompts_);
  life_.begin(id, *this);
  text_.emplace(shape_, id, life_.status().created_unix, life_.status().service_class);
}

// Each prompt as a request of its own. Equal prompts get different answers, unless the client names the seed:
// then each gets what it would get alone.
void Completion::start(CompletionSpec spec, const AnswerTerms& terms) {
  RequestSpec& request = spec.request;
  AnswerBlob blob{.terms = terms, .shape = std::move(spec.shape)};
  blob.terms.created_unix = life_.status().created_unix;
  blob.terms.started_ns = life_.status().started_ns;
  request.whole_parts = static_cast<uint32_t>(prompts_);
  for (const ipc::Prompt& prompt : spec.prompts) request.whole_prompt_bytes += prompt_bytes(prompt);
  for (ipc::Prompt& prompt : spec.prompts) {
    RequestSpec one = request;
    one.prompt = std::move(prompt);
    one.prompt_bytes = prompt_bytes(one.prompt);
    one.opaque = encode_blob(blob);
    requests_.start(std::move(one));
    ++blob.member;
    if (!spec.seed_given) ++request.generation.seed;
  }
}

Completion::~Completion() {
  life_.leave(status());
}

ResponseSink* Completion::adopt(RequestId id, const RequestSpec& spec, uint32_t member) {
  const bool fits = spec.whole_parts == prompts_ && spec.generation.choices == generated_choices_;
  return fits && !ended() ? requests_.adopt(member, id) : nullptr;
}

std::unique_ptr<Responder> Completion::reader(const std::shared_ptr<LiveAnswer>& self, Exchange& exchange,
                                              ReadingStart start) {
  if (!start.streams) return std::make_unique<WholeReader>(exchange, self);
  auto shared = std::static_pointer_cast<Completion>(self);
  return std::make_unique<StreamReader>(exchange, std::move(shared), start, keep_alive_ms_);
}

std::optional<Error> Completion::reason_not_to_stream() const {
  if (shape_.choices == generated_choices_) return std::nullopt;
  return Error{Code::kInvalidRequest, "'best_of' above n cannot be streamed"};
}

void Completion::on_accepted(size_t, const ipc::Accepted& event) {
  life_.count_accepted(event);
  if (shape_.reads_tool_calls) begin_reading_calls();
  if (requests_.accepted() == prompts_) note_accepted();
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
  choice.take(event, shape_.chat, shape_.logprobs, is_kept());
  held_bytes_ += choice.held_bytes() - old_bytes;
  if (held_bytes_ > answer_bytes_max_) return give_up(too_large());
  if (!event.text.empty()) tell_news();
}

// Some reader tells it piece by piece, whatever its client asked for.
bool Completion::is_streamed() const {
  return std::any_of(readers_.begin(), readers_.end(),
                     [](const AnswerReader* reader) { return reader->told(0) != nullptr; });
}

void Completion::release(Choice& choice, const ChoicePoint& told) {
  held_bytes_ -= choice.held_bytes();
  choice.release(told);
  held_bytes_ += choice.held_bytes();
}

void Completion::release_told() {
  if (is_kept() || !shape_.stream) return;
  for (size_t i = 0; i < choices_.size(); ++i) {
    ChoicePoint least = choices_[i].heard;
    for (const AnswerReader* reader : readers_) {
      const ChoicePoint* told = reader->told(i);
      if (told == nullptr) return;
      least.text_bytes = std::min(least.text_bytes, told->text_bytes);
      least.calls = std::min(least.calls, told->calls);
      least.logprobs = std::min(least.logprobs, told->logprobs);
    }
    release(choices_[i], least);
  }
}

void Completion::stop_keeping() {
  LiveAnswer::stop_keeping();
  for (Choice& choice : choices_) {
    held_bytes_ -= choice.held_bytes();
    choice.forget_marks();
    held_bytes_ += choice.held_bytes();
  }
  release_told();
}

size_t Completion::bytes() const {
  constexpr size_t kRoughly = 4096;  // all that does not grow
  return kRoughly + held_bytes_ + (response() ? response()->body.size() : 0);
}

// What was kept goes at once: a client that reads slowly could hold on to it for a long time yet.
void Completion::give_up(Error error) {
  requests_.forget_all();
  for (Choice& choice : choices_) {
    if (!is_kept()) release(choice, choice.heard);
    choice.finish.reset();
  }
  on_failed(error);
}

Error Completion::too_large() const {
  if (shape_.stream && accepted() && !is_kept()) {
    return {Code::kSlowReader, fmt::format("more than {} bytes of the answer waited for the client to read "
                                           "them",
                                           answer_bytes_max_)};
  }
  return {Code::kPayloadTooLarge, fmt::format("the answer takes more than {} bytes: ask for fewer choices, "
                                              "tokens or log probabilities, or for a stream",
                                              answer_bytes_max_)};
}

void Completion::observe_delta(Choice& choice, uint32_t tokens) {
  if (life_.is_adopted()) return;  // whatever it was, it was not now
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
  tell_news();
  if (all_ended && !shape_.stream) respond_whole();
}

void Completion::on_refused(const Refusal& refusal) {
  failure_ = refusal.error;
  respond(life_.refuse(refusal));
}

void Completion::on_failed(const Error& error) {
  failure_ = error;
  life_.fail(error, status());
  if (accepted() && shape_.stream) return tell_news();
  respond(life_.failure_response(error, is_about_constraint(error) ? shape_.constraint_param : ""));
}

AnswerStatus Completion::status() const {
  AnswerStatus status = life_.status();
  status.finish_reasons.clear();
  for (const Choice& choice : choices_) {
    status.finish_reasons.push_back(choice.finish);
    if (prompts_ended_ != prompts_) status.usage.completion_tokens += choice.heard.tokens;
  }
  if (prompts_ended_ == prompts_) status.usage = ended_usage_;
  return status;
}

void Completion::cancel() {
  give_up({Code::kCancelled, "the request was cancelled by its client"});
}

void Completion::append_usage_event(std::string& out) const {
  text_->append_usage_event(out, life_.status().usage, life_.status().truncated_bytes);
}

void Completion::tick(uint64_t now_ns) {
  if (ended()) return;
  if (auto overdue = life_.overdue(now_ns)) return give_up(std::move(*overdue));
  if (adopted_ns_ == 0 || requests_.size() == prompts_ || now_ns < adopted_ns_ + kAdoptionMax_ns) return;
  give_up(lost_part(requests_.size(), prompts_));
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
      text_->append_whole_choice(response.body, told++, choice.text_from({}), choice.calls_from({}),
                                 choice.logprobs(), choice.finish.value_or(ipc::FinishReason::kStop));
      if (!is_kept() && !is_streamed()) release(choice, choice.heard);
    }
  }
  text_->end_whole(response.body, life_.status().usage, life_.status().truncated_bytes);
  life_.announce(response);
  respond(std::move(response));
}

}  // namespace deepserve::daemon
