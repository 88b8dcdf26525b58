// What a chat template's Jinja source says, as far as it concerns plain conversations: its family and the
// ways in which templates of one family differ.
//
// The source is recognised, not run: a template that has no mark of a family, or one that is known to say
// more than the family does, is refused rather than rendered nearly right.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ipc/base/result.h"

namespace deepserve::runner {

enum class ChatFamily : uint8_t { kChatMl, kLlama3, kDeepSeekR1, kCount };
std::string_view chat_family_name(ChatFamily family);  // "chatml", "llama3", "deepseek-r1"
Result<ChatFamily> chat_family_from_name(std::string_view name);

// DeepSeek's marks before a question and an answer.
inline constexpr std::string_view kDeepSeekUser = "<\xef\xbd\x9cUser\xef\xbd\x9c>";
inline constexpr std::string_view kDeepSeekAssistant =
    "<\xef\xbd\x9c"
    "Assistant\xef\xbd\x9c>";

// What becomes of the reasoning in the assistant's earlier turns.
enum class ChatHistory : uint8_t {
  kVerbatim,      // nothing
  kAnswersOnly,   // all up to the last </think> goes (DeepSeek-R1)
  kLastVerbatim,  // likewise, except in a message that ends the conversation (QwQ)
  kQwen3,         // likewise, except after the last question, where it is put into <think> tags
};

struct ChatStyle {
  ChatFamily family = ChatFamily::kChatMl;
  bool begins_with_bos = false;
  std::string default_system;  // put first when the conversation does not begin with a system message
  bool dates_system = false;   // Llama 3.1 and later: the system block always comes, and states two dates
  bool joins_systems =
      false;  // DeepSeek: all system messages with an empty line between; else the last alone
  bool question_opens_answer =
      false;  // DeepSeek-R1-0528: <|Assistant|> follows the user's text, not before the answer
  std::string answer_begins;  // after the generation prompt: "<think>\n" or nothing
  ChatHistory history = ChatHistory::kVerbatim;
};

// The style of `source`. kNotSupported when it is empty or of no known family; the message says how to name
// one.
Result<ChatStyle> detect_chat_style(std::string_view source);

// The family's plain style: no default system prompt, no dates, DeepSeek's answers begin with "<think>\n".
ChatStyle plain_chat_style(ChatFamily family);

}  // namespace deepserve::runner
