// A chat request as the variables of a chat template.
#pragma once

#include <string_view>

#include "ipc/base/result.h"
#include "ipc/wire/messages.h"
#include "runner/model/chat/jinja/template.h"

namespace deepserve::runner {

// The list `messages`, with the fields that OpenAI gives them; of an assistant that only calls tools,
// `content` is none. Arguments of tool calls are the JSON that their text holds, or that text.
// kInvalidRequest naming the message whose tool calls are no JSON.
Result<jinja::Value> messages_variable(const ipc::Prompt& prompt, bool arguments_as_text);

// The list `tools`, none when there are none. kInvalidRequest when it is no JSON list.
Result<jinja::Value> tools_variable(const ipc::Prompt& prompt);

// What the template options say. kInvalidRequest when they are no JSON object, are more than 64, or name a
// variable that is not theirs.
Result<jinja::Variables> option_variables(const ipc::Prompt& prompt);

}  // namespace deepserve::runner
