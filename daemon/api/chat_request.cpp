#include <fmt/format.h>

#include <algorithm>

#include "daemon/api/completion_spec.h"
#include "daemon/api/json_fields.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

constexpr size_t kMessagesMax = 16'384;
constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant"};

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

void read_message(Fields& fields, ipc::ChatMessage& message) {
  fields.read_string("role", message.role);
  if (message.role == "tool" || message.role == "function") {
    fields.fail_at("role", fmt::format("'{}' is not supported", message.role), Code::kNotSupported);
  }
  if (std::find(std::begin(kRoles), std::end(kRoles), message.role) == std::end(kRoles)) {
    fields.fail_at("role", "must be system, developer, user or assistant");
  }
  for (const std::string_view name :
       {"tool_calls", "function_call", "audio", "refusal", "name", "annotations", "reasoning_content"}) {
    fields.refuse_unsupported(name);
  }
  const auto* content = fields.take("content");
  fields.finish();
  if (content == nullptr) return fields.fail_at("content", "is missing");
  if (const auto* text = content->if_string()) {
    message.content = *text;
    return;
  }
  const auto* parts = content->if_array();
  if (parts == nullptr)
    return fields.fail_at("content", "must be a string or a list of {\"type\": \"text\"} parts");
  for (const auto& part : *parts) read_part(fields, part, message.content);
}

void read_tokens_max(Fields& fields, ipc::Generation& generation) {
  // max_completion_tokens is OpenAI's newer name for the same limit.
  uint32_t newer = ipc::kRestOfContext;
  fields.read_integer("max_tokens", 1, INT32_MAX, generation.tokens_max);
  fields.read_integer("max_completion_tokens", 1, INT32_MAX, newer);
  if (newer == ipc::kRestOfContext) return;
  if (generation.tokens_max != ipc::kRestOfContext && generation.tokens_max != newer) {
    fields.fail_at("max_completion_tokens", "contradicts max_tokens");
  }
  generation.tokens_max = newer;
}

void read_logprobs(Fields& fields, ipc::Generation& generation) {
  bool wanted = false;
  uint8_t alternatives = 0;
  fields.read_bool("logprobs", wanted);
  fields.read_integer("top_logprobs", 0, 20, alternatives);
  if (!wanted && alternatives != 0) fields.fail_at("top_logprobs", "is only allowed with \"logprobs\": true");
  if (wanted) generation.logprobs = alternatives;
}

void read_modalities(Fields& fields) {
  const auto* modalities = fields.take("modalities");
  if (modalities == nullptr || *modalities == json::value(json::array{"text"})) return;
  fields.fail_at("modalities", "other than [\"text\"] is not supported", Code::kNotSupported);
}

void read_tool_choice(Fields& fields) {
  const auto* choice = fields.take("tool_choice");
  if (choice == nullptr || *choice == json::value("none")) return;
  fields.fail_at("tool_choice", "is not supported", Code::kNotSupported);
}

}  // namespace

void read_messages(Fields& fields, ipc::Prompt& prompt) {
  prompt.kind = ipc::PromptKind::kChat;
  const auto* value = fields.take("messages");
  if (value == nullptr) return fields.fail_at("messages", "is missing");
  const auto* list = value->if_array();
  if (list == nullptr || list->empty())
    return fields.fail_at("messages", "must be a list of at least one message");
  if (list->size() > kMessagesMax) return fields.fail_at("messages", "has more than 16384 messages");
  prompt.chat.reserve(list->size());
  for (size_t i = 0; i < list->size(); ++i) {
    const auto* object = (*list)[i].if_object();
    if (object == nullptr) return fields.fail_at(fmt::format("messages[{}]", i), "must be an object");
    Fields message(*object, fmt::format("messages[{}].", i));
    read_message(message, prompt.chat.emplace_back());
    fields.adopt(message);
    if (fields.failed()) return;
  }
}

Parsed<CompletionSpec> parse_chat_request(const HttpRequest& request) {
  const auto body = parse_json_body(request);
  if (!body) return tl::unexpected(body.error());
  Fields fields(*body, "");
  CompletionSpec spec;
  spec.shape.chat = true;
  spec.request.endpoint = "chat";
  for (const std::string_view name : {"tools", "parallel_tool_calls", "functions", "function_call", "audio",
                                      "prediction", "reasoning_effort", "web_search_options", "verbosity"}) {
    fields.refuse_unsupported(name);
  }
  read_tool_choice(fields);
  read_modalities(fields);
  read_messages(fields, spec.prompts.emplace_back());
  read_tokens_max(fields, spec.request.generation);
  read_logprobs(fields, spec.request.generation);
  read_common_fields(fields, request, spec);
  fields.finish();
  if (fields.failed()) return tl::unexpected(fields.failure());
  return spec;
}

}  // namespace deepserve::daemon
