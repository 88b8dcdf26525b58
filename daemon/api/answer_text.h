// The JSON of completions and chat completions, whole and in pieces, in OpenAI's shape; written straight into
// the output, because it is written per token.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/api/completion_spec.h"
#include "daemon/api/tool_call_reader.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

// Empties it; its memory goes too unless it is little, as it is while a client keeps up.
void clear_keeping_little(std::string& text);

// Log probabilities of the tokens of one choice, in a row. Each has a number, from 0 on.
class LogprobText {
 public:
  // `alternatives`: [0] is the chosen token. `top`: how many alternatives the client asked for. `offset`:
  // where the token is in the choice's text, in characters; not told in a chat.
  void add(bool chat, uint8_t top, const std::vector<ipc::TokenLogprob>& alternatives, uint64_t offset);
  // A token of an echoed prompt that nothing predicts: its very first.
  void add_unpredicted(bool chat, std::string_view text, uint64_t offset);
  // The number that the next one gets.
  uint32_t begin() const { return begin_; }
  uint32_t end() const { return begin_ + static_cast<uint32_t>(starts_.size()); }
  // The value of a choice's `logprobs`, of those from number `from` on: null when there are none.
  void append_to(std::string& out, bool chat, uint32_t from) const;
  // Lets go of those before number `to`.
  void release(uint32_t to);
  size_t bytes() const {
    return tokens_.size() + logprobs_.size() + top_.size() + offsets_.size() + starts_.size() * sizeof(Start);
  }

 private:
  // Where one begins in each of the lists.
  struct Start {
    uint32_t tokens, logprobs, top, offsets;
  };
  void separate();
  void add_chat(const ipc::TokenLogprob& chosen, const std::vector<ipc::TokenLogprob>& top);
  void add_text(const ipc::TokenLogprob& chosen, const std::vector<ipc::TokenLogprob>& top);

  std::string tokens_;  // chat: the whole entries; else the tokens' texts
  std::string logprobs_;
  std::string top_;
  std::string offsets_;
  std::vector<Start> starts_;
  uint32_t begin_ = 0;  // so many were released
};

// What is the same in every piece of one answer.
class AnswerText {
 public:
  // `service_class`: in force; told as the service tier where the client named one.
  AnswerText(const CompletionShape& shape, ipc::RequestId id, int64_t created_unix, ipc::Class service_class);

  // Events of a stream (server-sent events, without their `id:` lines).
  void append_role_event(std::string& out, size_t choice) const;
  // `first_logprob`: of `logprobs`, the first that is told here.
  void append_text_event(std::string& out, size_t choice, std::string_view text, const LogprobText& logprobs,
                         uint32_t first_logprob) const;
  // Whole calls; the first has the number `first_call` within its choice.
  void append_tool_calls_event(std::string& out, size_t choice, const std::vector<ToolCall>& calls,
                               size_t first_call) const;
  // `called`: the choice has tool calls.
  void append_finish_event(std::string& out, size_t choice, ipc::FinishReason reason, bool called) const;
  void append_usage_event(std::string& out, const ipc::Usage& usage, uint64_t truncated_bytes) const;

  // The answer in one piece: begin, each choice, end.
  void begin_whole(std::string& out) const;
  void append_whole_choice(std::string& out, size_t choice, std::string_view text,
                           const std::vector<ToolCall>& calls, const LogprobText& logprobs,
                           ipc::FinishReason reason) const;
  void end_whole(std::string& out, const ipc::Usage& usage, uint64_t truncated_bytes) const;

 private:
  void append_envelope(std::string& out, std::string_view object) const;
  void append_tool_calls(std::string& out, size_t choice, const std::vector<ToolCall>& calls,
                         size_t first_call, bool numbered) const;

  const bool chat_;
  std::string id_;
  std::string call_id_prefix_;
  std::string envelope_;      // what follows the object's name, up to the choices
  std::string event_prefix_;  // "data: {" up to the first choice's index
  std::string event_suffix_;  // after the choice
};

}  // namespace deepserve::daemon
