#include "daemon/api/stream_reader.h"

#include <algorithm>
#include <utility>

#include "daemon/api/error_details.h"
#include "daemon/api/handed_reading.h"
#include "daemon/http/error_response.h"
#include "daemon/http/json_text.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {

StreamReader::StreamReader(Exchange& exchange, std::shared_ptr<Completion> answer, const ReadingStart& start,
                           uint64_t keep_alive_ms)
    : exchange_(exchange),
      answer_(std::move(answer)),
      keep_alive_ms_(keep_alive_ms),
      told_(answer_->choices().size()),
      last_event_ns_(monotonic_ns()),
      begun_(start.head_told) {
  for (Told& told : told_) told.begun = !answer_->shape().chat;  // a text has no role
  if (start.from) {
    usage_told_ = start.from->usage_told;
    for (size_t i = 0; i < std::min(told_.size(), start.from->choices.size()); ++i) {
      told_[i].wanted = start.from->choices[i];
    }
  }
  exchange_.set_request_id(answer_->id());
  answer_->attach(*this);
  if (answer_->is_void() && answer_->response() && !begun_) {
    exchange_.respond(*answer_->response());
  } else if (answer_->accepted()) {
    begin();
  }
}

StreamReader::~StreamReader() {
  answer_->detach(*this, monotonic_ns());
}

void StreamReader::begin() {
  last_event_ns_ = monotonic_ns();
  if (!std::exchange(begun_, true)) {
    HttpResponse head{.content_type = "text/event-stream; charset=utf-8",
                      .fields = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
    answer_->announce(head);
    exchange_.start_stream(std::move(head));
  }
  exchange_.wake();
}

void StreamReader::on_accepted() {
  begin();
}

void StreamReader::on_response(HttpResponse response) {
  if (begun_) return exchange_.wake();
  exchange_.respond(std::move(response));
}

bool StreamReader::produce(std::string& out) {
  const size_t old_bytes = out.size();
  // A line alone: OpenAI's Python client takes the empty line after a comment for the end of an event.
  if (std::exchange(keep_alive_due_, false)) out += ": keep-alive\n";
  if (!answer_->accepted() && !answer_->ended()) return false;
  if (answer_->shape().chat) {
    for (size_t i = 0; i < told_.size(); ++i) {
      if (told_[i].wanted || std::exchange(told_[i].begun, true)) continue;
      append_id(out);
      answer_->text().append_role_event(out, i);
    }
  }
  for (size_t i = 0; i < told_.size(); ++i) produce_choice(out, i);
  answer_->release_told();
  if (out.size() != old_bytes) last_event_ns_ = monotonic_ns();
  if (!answer_->ended()) return false;
  ended_ = true;
  const auto lost = [](const Told& told) { return told.wanted.has_value(); };
  if (answer_->failure()) {
    append_error(out, *answer_->failure());
  } else if (std::any_of(told_.begin(), told_.end(), lost)) {
    append_error(out, {Code::kGone, "the answer cannot be resumed from there"});
  } else {
    if (answer_->shape().include_usage && !usage_told_) {
      out += "id: ";
      out += position();
      out += ":u\n";
      answer_->append_usage_event(out);
    }
    out += "data: [DONE]\n\n";
  }
  return true;
}

// Whether the choice is at the place from which it is to be told.
bool StreamReader::find_wanted(size_t index) {
  Told& told = told_[index];
  if (!told.wanted) return true;
  const Choice& choice = answer_->choices()[index];
  const ChoicePosition wanted = *told.wanted;
  const auto mark = choice.mark_at(wanted);
  if (!mark || wanted.tail_bytes > choice.heard.text_bytes - mark->text_bytes ||
      wanted.calls.value_or(0) > choice.heard.calls || (wanted.finished && !choice.finish)) {
    return false;
  }
  told.at = told.base = *mark;
  told.at.text_bytes += wanted.tail_bytes;
  told.at.calls = wanted.calls.value_or(mark->calls);
  told.begun = wanted.begun;
  told.finished = wanted.finished;
  told.wanted.reset();
  return true;
}

// All that came since the last time goes into one event.
void StreamReader::produce_choice(std::string& out, size_t index) {
  if (!find_wanted(index)) return;
  Told& told = told_[index];
  const Choice& choice = answer_->choices()[index];
  if (answer_->shape().chat && !std::exchange(told.begun, true)) {
    append_id(out);
    answer_->text().append_role_event(out, index);
  }
  told.begun = true;
  if (!choice.has(told.at)) mark_told(told, choice);  // it was given up, and the rest with it
  const bool finishes = choice.finish.has_value() && !told.finished;
  const bool has_logprobs = told.at.logprobs != choice.heard.logprobs;
  // Log probabilities of tokens without text wait for the next text, or for the end.
  if (told.at.text_bytes != choice.heard.text_bytes || (finishes && has_logprobs)) {
    const ChoicePoint from = told.at;
    mark_told(told, choice);
    told.at.calls = from.calls;
    append_id(out);
    answer_->text().append_text_event(out, index, choice.text_from(from), choice.logprobs(), from.logprobs);
  }
  if (told.at.calls != choice.heard.calls) {
    const ChoicePoint from = told.at;
    mark_told(told, choice);
    append_id(out);
    answer_->text().append_tool_calls_event(out, index, choice.calls_from(from), from.calls);
  }
  if (!finishes) return;
  mark_told(told, choice);
  told.finished = true;
  append_id(out);
  answer_->text().append_finish_event(out, index, *choice.finish, choice.heard.calls != 0);
}

void StreamReader::mark_told(Told& told, const Choice& choice) {
  told.at = choice.heard;
  told.base = choice.marked;
}

// From where a client that lost its connection would go on.
void StreamReader::append_id(std::string& out) const {
  out += "id: ";
  append_hex16(out, answer_->id());
  char separator = ':';
  for (const Told& told : told_) {
    out += separator;
    separator = '.';
    if (told.wanted) {
      append_position(out, *told.wanted);
      continue;
    }
    ChoicePosition position{.begun = told.begun, .finished = told.finished};
    if (told.at.tokens == 0) position.echoed = told.at.echoed;
    position.tokens = told.at.tokens;
    position.tail_bytes = told.at.text_bytes - told.base.text_bytes;
    if (told.at.calls != told.base.calls) position.calls = told.at.calls;
    append_position(out, position);
  }
  out += '\n';
}

std::string StreamReader::position() const {
  std::string line;
  append_id(line);
  return line.substr(4, line.size() - 5);
}

void StreamReader::append_error(std::string& out, const Error& error) const {
  out += "event: error\ndata: ";
  append_error_json(out, error, failure_details(error, answer_->status().service_class));
  out += "\n\n";
}

void StreamReader::tick(uint64_t now_ns) {
  answer_->tick(now_ns);
  const bool silent = now_ns >= last_event_ns_ + keep_alive_ms_ * kMillisecond_ns;
  if (!begun_ || ended_ || answer_->ended() || !silent) return;
  keep_alive_due_ = true;
  exchange_.wake();
}

std::optional<std::string> StreamReader::hand_over() const {
  if (!answer_->can_be_handed_over()) return std::nullopt;
  const auto has_place = [](const Told& told) { return told.wanted.has_value(); };
  HandedReading handed{.request = answer_->id(), .streams = true, .head_told = begun_};
  if (begun_ || std::any_of(told_.begin(), told_.end(), has_place)) handed.position = position();
  return handed_text(handed);
}

}  // namespace deepserve::daemon
