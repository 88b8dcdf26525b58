// The families of chat templates: what a template is called in messages and in a runner's state, how a model
// writes its tool calls, and the templates that a configuration may name for files that carry none.
#pragma once

#include <cstdint>
#include <string_view>

#include "ipc/base/result.h"

namespace deepserve::runner {

enum class ChatFamily : uint8_t {
  kChatMl,      // <|im_start|>: Qwen, SmolLM, Hermes; tool calls in <tool_call>
  kLlama3,      // <|start_header_id|>; a tool call is an answer of JSON
  kDeepSeekR1,  // <|User|> with full-width bars, answers begin with a thought
  kDeepSeek,    // likewise, V2.5 and V3; tool calls in marks of their own
  kLlama2,      // [INST] and <<SYS>>
  kMistral,     // [INST] alone
  kCustom,      // a template like no other; rendered as any
  kCount,
};

std::string_view chat_family_name(ChatFamily family);  // "chatml", "llama3", "deepseek-r1", ...

// The family whose marks are in the Jinja source `source`.
ChatFamily family_of_template(std::string_view source);

// A family that has a plain template of its own. kNotSupported names those that have.
Result<ChatFamily> chat_family_from_name(std::string_view name);
// Its Jinja source: no tools, no default system prompt, no dates; DeepSeek's answers begin with "<think>\n".
std::string_view plain_template(ChatFamily family);

}  // namespace deepserve::runner
