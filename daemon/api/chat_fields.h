// Reads what makes up the prompt of a chat: messages, tools, and the template's own switches.
#pragma once

#include <string_view>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

class Fields;

// `body` is the JSON that `fields` were parsed from: tools and tool calls go to the template as they are
// written there, digit by digit. Read are
//   messages              roles system, developer (told as system), user, assistant and tool. Content is a
//                         string or a list of {"type": "text"} parts, which are put together; it may be
//                         missing where an assistant only calls tools. An assistant's `reasoning_content` is
//                         what it thought first; `prefix` on the last one asks to go on with it.
//   tools, tool_choice, parallel_tool_calls     see read_tools()
//   chat_template_kwargs  an object of switches, as vLLM names it
//   add_generation_prompt, continue_final_message     as transformers names them
void read_chat(Fields& fields, std::string_view body, ipc::Prompt& prompt);

// The tools that the model may call. With "tool_choice": "none" it is not told of any; a choice that would
// have to be forced on it ("required", a named one) is refused, and so are "parallel_tool_calls": false and
// "strict": true.
void read_tools(Fields& fields, std::string_view body, ipc::Prompt& prompt);

// An assistant's `tool_calls`, checked; `json` is the message as it was written. Their JSON goes to
// `message`.
void read_tool_calls(Fields& fields, std::string_view json, ipc::ChatMessage& message);

}  // namespace deepserve::daemon
