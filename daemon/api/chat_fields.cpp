#include "daemon/api/chat_fields.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/api/json_fields.h"
#include "daemon/api/json_slice.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

constexpr size_t kMessagesMax = 16'384;
constexpr size_t kOptionBytesMax = 16 * 1024;
constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool"};

// One of the parts that a content may be a list of.
void read_part(Fields& fields, const json::value& value, std::string& content) {
  const auto* object = value.if_object();
  if (object == nullptr)
    return fields.fail_at("content", "must be a string or a list of {\"type\": \"text\"} parts");
  Fields part(*object, fields.full_name("content."));
  std::string type;
  part.read_string("type", type);
  if (type != "text")
    part.fail_at("type", fmt::format("must be text: '{}' is not supported", type), Code::kNotSupported);
  if (!part.has("text")) part.fail_at("text", "is missing");
  std::string text;
  part.read_string("text", text);
  part.finish();
  fields.adopt(part);
  content += text;
}

void read_content(Fields& fields, ipc::ChatMessage& message) {
  const auto* content = fields.take("content");
  if (content == nullptr) {
    if (message.tool_calls.empty()) fields.fail_at("content", "is missing");
    return;
  }
  if (const auto* text = content->if_string()) {
    message.content = *text;
    return;
  }
  const auto* parts = content->if_array();
  if (parts == nullptr)
    return fields.fail_at("content", "must be a string or a list of {\"type\": \"text\"} parts");
  for (const auto& part : *parts) read_part(fields, part, message.content);
}

void read_role(Fields& fields, ipc::ChatMessage& message) {
  fields.read_string("role", message.role);
  if (message.role == "function") fields.fail_at("role", "'function' is not supported", Code::kNotSupported);
  if (std::find(std::begin(kRoles), std::end(kRoles), message.role) == std::end(kRoles))
    fields.fail_at("role", "must be system, developer, user, assistant or tool");
  if (message.role == "developer") message.role = "system";
}

// `prefix` says whether the message asks to be gone on with.
void read_message(Fields& fields, std::string_view json, ipc::ChatMessage& message, bool& prefix) {
  read_role(fields, message);
  for (const std::string_view name : {"function_call", "audio", "refusal", "annotations"}) {
    fields.refuse_unsupported(name);
  }
  if (message.role == "assistant") {
    read_tool_calls(fields, json, message);
    fields.read_string("reasoning_content", message.reasoning);
    fields.read_bool("prefix", prefix);
  } else {
    for (const std::string_view name : {"tool_calls", "reasoning_content", "prefix"}) {
      fields.refuse_unsupported(name);
    }
  }
  if (message.role == "tool") {
    fields.read_string("tool_call_id", message.tool_call_id);
    if (message.tool_call_id.empty()) fields.fail_at("tool_call_id", "is missing");
    fields.read_string("name", message.name);
  } else {
    fields.refuse_unsupported("name");
  }
  read_content(fields, message);
  fields.finish();
}

// True when the last message is to be gone on with.
bool read_messages(Fields& fields, std::string_view body, ipc::Prompt& prompt) {
  const auto* value = fields.take("messages");
  const auto* list = value == nullptr ? nullptr : value->if_array();
  if (value == nullptr) {
    fields.fail_at("messages", "is missing");
  } else if (list == nullptr || list->empty()) {
    fields.fail_at("messages", "must be a list of at least one message");
  } else if (list->size() > kMessagesMax) {
    fields.fail_at("messages", "has more than 16384 messages");
  }
  if (fields.failed()) return false;
  const std::vector<std::string_view> spelt = item_slices(member_slice(body, "messages").value_or(""));
  if (spelt.size() != list->size()) {
    fields.fail_at("messages", "must be written without escapes in its name");
    return false;
  }
  prompt.chat.reserve(list->size());
  bool prefix = false;
  for (size_t i = 0; i < list->size() && !fields.failed(); ++i) {
    const std::string place = fmt::format("messages[{}]", i);
    if (prefix) fields.fail_at(fmt::format("messages[{}].prefix", i - 1), "is for the last message only");
    const auto* object = (*list)[i].if_object();
    if (object == nullptr) {
      fields.fail_at(place, "must be an object");
      break;
    }
    Fields message(*object, place + ".");
    read_message(message, spelt[i], prompt.chat.emplace_back(), prefix);
    fields.adopt(message);
  }
  return prefix;
}

// The template's switches as one JSON object.
void read_options(Fields& fields, std::string_view body, bool prefix, ipc::Prompt& prompt) {
  std::vector<std::string> switches;
  const auto* given = fields.take("chat_template_kwargs");
  const auto* object = given == nullptr ? nullptr : given->if_object();
  if (given != nullptr && object == nullptr) fields.fail_at("chat_template_kwargs", "must be an object");
  if (object != nullptr && !object->empty()) {
    for (const char* name : {"messages", "tools", "add_generation_prompt", "continue_final_message"}) {
      if (object->contains(name))
        fields.fail_at(fmt::format("chat_template_kwargs.{}", name), "is not a switch of the template");
    }
    const std::string_view spelt = member_slice(body, "chat_template_kwargs").value_or("");
    if (spelt.empty())
      return fields.fail_at("chat_template_kwargs", "must be written without escapes in its name");
    if (spelt.size() > kOptionBytesMax)
      return fields.fail_at("chat_template_kwargs", fmt::format("has more than {} bytes", kOptionBytesMax));
    switches.emplace_back(spelt.substr(1, spelt.size() - 2));
  }
  bool continues = prefix;
  fields.read_bool("continue_final_message", continues);
  bool begins_answer = !continues;
  fields.read_bool("add_generation_prompt", begins_answer);
  if (continues && begins_answer)
    fields.fail_at("add_generation_prompt", "and continue_final_message exclude each other");
  if (continues) switches.emplace_back("\"continue_final_message\":true");
  if (!continues && !begins_answer) switches.emplace_back("\"add_generation_prompt\":false");
  if (!switches.empty()) prompt.template_options = fmt::format("{{{}}}", fmt::join(switches, ","));
}

}  // namespace

void read_chat(Fields& fields, std::string_view body, ipc::Prompt& prompt) {
  prompt.kind = ipc::PromptKind::kChat;
  const bool prefix = read_messages(fields, body, prompt);
  read_tools(fields, body, prompt);
  read_options(fields, body, prefix, prompt);
}

}  // namespace deepserve::daemon
