#include "runner/model/tokenizer/text_stream.h"

#include <algorithm>

#include "runner/model/tokenizer/tokenizer_base.h"
#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {
namespace {

// Control tokens that are part of an answer: by them a client's tool calls are known.
constexpr std::string_view kToolMarks[] = {
    "<tool_call>",          "</tool_call>",          "<|python_tag|>",      "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>",
};

std::string_view shown_bytes(const Tokenizer& tokenizer, TokenId token) {
  const std::string_view bytes = tokenizer.token_bytes(token);
  if (!bytes.empty()) return bytes;
  const std::string_view control = tokenizer.token_bytes(token, true);
  const bool is_tool_mark =
      std::find(std::begin(kToolMarks), std::end(kToolMarks), control) != std::end(kToolMarks);
  return is_tool_mark ? control : std::string_view();
}

}  // namespace

std::string TextStream::append(TokenId token) {
  const std::string_view bytes = shown_bytes(*tokenizer_, token);
  if (bytes.empty()) return {};
  if (at_start_)
    pending_.append(first_token_bytes(tokenizer_->vocabulary(), token, bytes));
  else
    pending_.append(bytes);
  at_start_ = false;
  std::string text;
  const size_t unfinished_bytes = append_whole_characters(text, pending_);
  pending_.erase(0, pending_.size() - unfinished_bytes);
  return text;
}

std::string TextStream::finish() {
  const bool unfinished = !pending_.empty();
  pending_.clear();
  return unfinished ? std::string(kReplacementCharacter) : std::string();
}

}  // namespace deepserve::runner
