#include "daemon/api/choice.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace deepserve::daemon {
namespace {

double mean_logprob(const Choice& choice) {
  if (choice.heard.tokens == 0) return -std::numeric_limits<double>::infinity();
  return choice.logprob_sum / choice.heard.tokens;
}

// The text of an echoed prompt's first token: what the others of its delta leave over. Nothing predicts that
// token, so that no log probability names it.
std::string_view first_token_text(const ipc::Delta& event) {
  size_t others_bytes = 0;
  for (const auto& alternatives : event.logprobs) {
    if (!alternatives.empty()) others_bytes += alternatives[0].text.size();
  }
  const size_t bytes = event.text.size() > others_bytes ? event.text.size() - others_bytes : 0;
  return std::string_view(event.text).substr(0, bytes);
}

// As Python counts them.
uint64_t characters(std::string_view text) {
  const auto begins_one = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
  return static_cast<uint64_t>(std::count_if(text.begin(), text.end(), begins_one));
}

// Where the tokens of one delta begin in its text. A control token has none, and a token whose text is held
// back has none yet: both are where the text stands. Text that was held back comes before its last token's.
class TokenPlaces {
 public:
  TokenPlaces(std::string_view text, size_t tokens) : text_(text), tokens_left_(tokens) {}

  // The place of the next token in bytes; `token`: its own text.
  size_t next(std::string_view token) {
    const bool is_last = --tokens_left_ == 0;
    const std::string_view rest = text_.substr(reached_);
    if (is_last && rest.ends_with(token)) return text_.size() - token.size();
    const size_t place = reached_;
    if (rest.starts_with(token)) reached_ += token.size();
    return place;
  }

 private:
  std::string_view text_;
  size_t tokens_left_;
  size_t reached_ = 0;
};

}  // namespace

void Choice::take(const ipc::Delta& event, bool chat, uint8_t top, bool marks) {
  reader.take(event.text, text_, calls_);
  const auto count = static_cast<uint32_t>(event.tokens.size());
  if (event.echo) {
    heard.echoed += count;
  } else {
    heard.tokens += count;
    for (const auto& alternatives : event.logprobs) {
      if (!alternatives.empty()) logprob_sum += static_cast<double>(alternatives[0].logprob);
    }
  }
  if (top != ipc::kNoLogprobs) {
    TokenPlaces places(event.text, event.logprobs.size());
    for (size_t i = 0; i < event.logprobs.size(); ++i) {
      const auto& alternatives = event.logprobs[i];
      const std::string_view token = alternatives.empty() ? first_token_text(event) : alternatives[0].text;
      const auto before = std::string_view(event.text).substr(0, places.next(token));
      const uint64_t offset = text_characters + characters(before);
      if (!alternatives.empty()) {
        logprobs_.add(chat, top, alternatives, offset);
      } else if (event.echo && event.index + i == 0) {
        logprobs_.add_unpredicted(chat, token, offset);
      }
    }
    text_characters += characters(event.text);
    heard.logprobs = logprobs_.end();
  }
  heard.text_bytes = text_begin_ + text_.size();
  heard.calls = calls_begin_ + static_cast<uint32_t>(calls_.size());
  if (count == 0) return;
  marked = heard;
  if (marks) marks_.push_back(heard);
}

size_t Choice::held_bytes() const {
  size_t bytes = text_.size() + logprobs_.bytes() + reader.held_bytes() + marks_.size() * sizeof(ChoicePoint);
  for (const ToolCall& call : calls_) bytes += sizeof(ToolCall) + call.name.size() + call.arguments.size();
  return bytes;
}

void Choice::finish_with(ipc::FinishReason reason) {
  reader.finish(text_, calls_);
  heard.text_bytes = text_begin_ + text_.size();
  heard.calls = calls_begin_ + static_cast<uint32_t>(calls_.size());
  finish = reason;
}

std::optional<ChoicePoint> Choice::mark_at(const ChoicePosition& position) const {
  if (position.tokens == 0 && position.echoed == 0) return ChoicePoint{};
  // The prompt's tokens come before the answer's first.
  const auto is_before = [](const ChoicePoint& mark, const ChoicePosition& at) {
    if (at.tokens != 0) return mark.tokens < at.tokens;
    return mark.tokens == 0 && mark.echoed < at.echoed;
  };
  const auto found = std::lower_bound(marks_.begin(), marks_.end(), position, is_before);
  if (found == marks_.end() || found->tokens != position.tokens) return std::nullopt;
  if (position.tokens == 0 && found->echoed != position.echoed) return std::nullopt;
  return *found;
}

void Choice::release(const ChoicePoint& told) {
  if (!has(told)) return;
  const uint64_t bytes = told.text_bytes - text_begin_;
  if (bytes == text_.size()) {
    clear_keeping_little(text_);
  } else {
    text_.erase(0, bytes);
  }
  text_begin_ = told.text_bytes;
  if (told.calls != calls_begin_) {
    calls_.erase(calls_.begin(), calls_.begin() + (told.calls - calls_begin_));
    calls_begin_ = told.calls;
  }
  logprobs_.release(told.logprobs);
}

std::vector<size_t> best_choices(const std::vector<Choice>& choices, size_t first, size_t count,
                                 size_t told) {
  std::vector<size_t> places(count);
  std::iota(places.begin(), places.end(), first);
  std::stable_sort(places.begin(), places.end(), [&choices](size_t a, size_t b) {
    return mean_logprob(choices[a]) > mean_logprob(choices[b]);
  });
  places.resize(std::min(told, count));
  return places;
}

}  // namespace deepserve::daemon
