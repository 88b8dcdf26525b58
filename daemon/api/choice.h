// One choice of an answer as it comes: what is kept of it, and what is known of it.
//
// Whatever it has is counted from its beginning, so that several readers can stand at different places. What
// all of them have been told may be released; of an answer that is kept to be resumed nothing is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/api/answer_text.h"
#include "daemon/api/position.h"
#include "daemon/api/tool_call_reader.h"

namespace deepserve::daemon {

// How far a choice has been heard, or told.
struct ChoicePoint {
  uint64_t text_bytes = 0;
  uint32_t echoed = 0;  // tokens of an echoed prompt; told with log probabilities or not
  uint32_t tokens = 0;  // of the answer
  uint32_t calls = 0;
  uint32_t logprobs = 0;  // tokens whose log probabilities can be told
};

struct Choice {
  ChoicePoint heard;
  ChoicePoint marked;  // `heard` after the last delta that had tokens
  ToolCallReader reader;
  uint64_t last_token_ns = 0;
  uint64_t text_characters = 0;  // received, where log probabilities are told
  double logprob_sum = 0;        // of the tokens, where their log probabilities are known
  std::optional<ipc::FinishReason> finish;

  // Takes over the text and tokens of `event`; its log probabilities for the client where it asked for them
  // (`top` alternatives of each token; kNoLogprobs: it did not). With `marks` it can be resumed at the end of
  // this delta.
  void take(const ipc::Delta& event, bool chat, uint8_t top, bool marks);
  // Nothing more will come: what was held back becomes text or calls.
  void finish_with(ipc::FinishReason reason);

  // Whether what came after `told` is there still.
  bool has(const ChoicePoint& told) const {
    return told.text_bytes >= text_begin_ && told.calls >= calls_begin_ && told.logprobs >= logprobs_.begin();
  }
  // What came after `told`.
  std::string_view text_from(const ChoicePoint& told) const {
    return std::string_view(text_).substr(told.text_bytes - text_begin_);
  }
  const LogprobText& logprobs() const { return logprobs_; }
  std::vector<ToolCall> calls_from(const ChoicePoint& told) const {
    return {calls_.begin() + (told.calls - calls_begin_), calls_.end()};
  }

  // Where `position` is; nothing when no delta ended there so far.
  std::optional<ChoicePoint> mark_at(const ChoicePosition& position) const;
  void forget_marks() { marks_ = {}; }
  // Lets go of all before `told`, if it has not before.
  void release(const ChoicePoint& told);
  size_t held_bytes() const;

 private:
  std::string text_;
  uint64_t text_begin_ = 0;  // bytes that were released
  std::vector<ToolCall> calls_;
  uint32_t calls_begin_ = 0;
  LogprobText logprobs_;
  std::vector<ChoicePoint> marks_;
};

// The places of the `told` best of the choices [first, first + count): those with the highest mean log
// probability of a token come first; one without any token is the last, ties keep their order.
std::vector<size_t> best_choices(const std::vector<Choice>& choices, size_t first, size_t count, size_t told);

}  // namespace deepserve::daemon
