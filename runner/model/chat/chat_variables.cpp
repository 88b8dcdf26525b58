#include "runner/model/chat/chat_variables.h"

#include "runner/model/chat/jinja/json_text.h"

namespace deepserve::runner {
namespace {

using jinja::Author;
using jinja::Dict;
using jinja::List;
using jinja::MarkedText;
using jinja::Value;

constexpr size_t kOptionsMax = 64;  // each is looked at for each name that the template reads

Dict::Entry field(std::string_view name, Value value) {
  return {MarkedText(name, Author::kTemplate), std::move(value)};
}

Dict::Entry text_field(std::string_view name, std::string_view text) {
  return field(name, Value(text, Author::kUser));
}

Result<Value> dict_of(std::vector<Dict::Entry> entries) {
  TRY_ASSIGN(auto dict, Dict::make(std::move(entries)));
  return Value(std::move(dict));
}

// `dict` with its member `name`, when it has one, changed by `change`.
template <typename Change>
Result<Value> with_member(const Dict& dict, std::string_view name, Change change) {
  std::vector<Dict::Entry> entries = dict.entries();
  for (Dict::Entry& entry : entries) {
    if (entry.first.bytes() != name) continue;
    TRY_ASSIGN(entry.second, change(entry.second));
  }
  return dict_of(std::move(entries));
}

// The arguments' text is a JSON object for most templates; what is none stays text.
Result<Value> arguments_value(const Value& arguments) {
  const MarkedText* text = arguments.if_text();
  if (text == nullptr) return arguments;
  Result<Value> parsed = jinja::parse_json(text->bytes());
  return parsed && parsed->if_dict() != nullptr ? *parsed : arguments;
}

Result<Value> tool_calls_value(std::string_view json, bool arguments_as_text) {
  TRY_ASSIGN(const Value calls, jinja::parse_json(json));
  if (calls.if_list() == nullptr) return fail(Code::kInvalidRequest, "no list");
  if (arguments_as_text) return calls;
  std::vector<Value> made;
  for (const Value& call : calls.if_list()->items()) {
    if (call.if_dict() == nullptr) return fail(Code::kInvalidRequest, "no list of objects");
    TRY_ASSIGN(Value changed, with_member(*call.if_dict(), "function", [](const Value& function) {
                 if (function.if_dict() == nullptr) return Result<Value>(function);
                 return with_member(*function.if_dict(), "arguments", arguments_value);
               }));
    made.push_back(std::move(changed));
  }
  TRY_ASSIGN(auto list, List::make(std::move(made)));
  return Value(std::move(list));
}

Result<Value> message_value(const ipc::ChatMessage& message, bool arguments_as_text) {
  std::vector<Dict::Entry> entries;
  // transformers gives a thought both of its names.
  if (!message.reasoning.empty()) entries.push_back(text_field("thinking", message.reasoning));
  entries.push_back(text_field("role", message.role));
  const bool only_calls = !message.tool_calls.empty() && message.content.empty();
  entries.push_back(only_calls ? field("content", Value(jinja::None()))
                               : text_field("content", message.content));
  if (!message.name.empty()) entries.push_back(text_field("name", message.name));
  if (!message.tool_calls.empty()) {
    TRY_ASSIGN(Value calls, tool_calls_value(message.tool_calls, arguments_as_text));
    entries.push_back(field("tool_calls", std::move(calls)));
  }
  if (!message.tool_call_id.empty()) entries.push_back(text_field("tool_call_id", message.tool_call_id));
  if (!message.reasoning.empty()) entries.push_back(text_field("reasoning_content", message.reasoning));
  return dict_of(std::move(entries));
}

}  // namespace

Result<Value> messages_variable(const ipc::Prompt& prompt, bool arguments_as_text) {
  std::vector<Value> messages;
  for (size_t i = 0; i < prompt.chat.size(); ++i) {
    auto message = message_value(prompt.chat[i], arguments_as_text);
    if (!message)
      return fail(message.error().code, "messages[{}].tool_calls: {}", i, message.error().message);
    messages.push_back(std::move(*message));
  }
  TRY_ASSIGN(auto list, List::make(std::move(messages)));
  return Value(std::move(list));
}

Result<Value> tools_variable(const ipc::Prompt& prompt) {
  if (prompt.tools.empty()) return Value(jinja::None());
  auto tools = jinja::parse_json(prompt.tools);
  if (!tools) return fail(tools.error().code, "tools: {}", tools.error().message);
  if (tools->if_list() == nullptr) return fail(Code::kInvalidRequest, "tools: no list");
  return tools;
}

Result<jinja::Variables> option_variables(const ipc::Prompt& prompt) {
  jinja::Variables variables;
  if (prompt.template_options.empty()) return variables;
  auto options = jinja::parse_json(prompt.template_options);
  if (!options) return fail(options.error().code, "chat_template_kwargs: {}", options.error().message);
  if (options->if_dict() == nullptr) return fail(Code::kInvalidRequest, "chat_template_kwargs: no object");
  if (options->if_dict()->entries().size() > kOptionsMax)
    return fail(Code::kInvalidRequest, "chat_template_kwargs has more than {} fields", kOptionsMax);
  for (const auto& [name, value] : options->if_dict()->entries()) {
    for (const std::string_view taken : {"messages", "tools", "documents", "namespace", "raise_exception"}) {
      if (name.bytes() == taken)
        return fail(Code::kInvalidRequest, "chat_template_kwargs.{} is not the template's own", taken);
    }
    variables.emplace_back(name.bytes(), value);
  }
  return variables;
}

}  // namespace deepserve::runner
