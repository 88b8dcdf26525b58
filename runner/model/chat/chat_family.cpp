#include "runner/model/chat/chat_family.h"

#include <array>

namespace deepserve::runner {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(ChatFamily::kCount)> kNames = {
    "chatml", "llama3", "deepseek-r1", "deepseek", "llama2", "mistral", "custom"};

constexpr std::string_view kChatMlTemplate =
    R"({% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] )"
    R"(+ '<|im_end|>\n' }}{% endfor %})"
    R"({% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";

constexpr std::string_view kLlama3Template =
    R"({{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] )"
    R"(+ '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %})"
    R"({% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})";

constexpr std::string_view kDeepSeekR1Template =
    R"({% set ns = namespace(system='') %}{% for message in messages %}{% if message['role'] == 'system' %})"
    R"({% set ns.system = message['content'] %}{% endif %}{% endfor %}{{ bos_token + ns.system }})"
    R"({% for message in messages %}{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }})"
    R"({% elif message['role'] == 'assistant' %}{{ '<｜Assistant｜>' )"
    R"(+ message['content'].split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %})"
    R"({% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %})";

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

}  // namespace

std::string_view chat_family_name(ChatFamily family) {
  return kNames[static_cast<size_t>(family)];
}

ChatFamily family_of_template(std::string_view source) {
  if (holds(source, "<|im_start|>")) return ChatFamily::kChatMl;
  if (holds(source, "<|start_header_id|>")) return ChatFamily::kLlama3;
  if (holds(source, "<｜User｜>"))
    return holds(source, "<think>\\n") ? ChatFamily::kDeepSeekR1 : ChatFamily::kDeepSeek;
  if (holds(source, "[INST]")) return holds(source, "<<SYS>>") ? ChatFamily::kLlama2 : ChatFamily::kMistral;
  return ChatFamily::kCustom;
}

Result<ChatFamily> chat_family_from_name(std::string_view name) {
  for (const ChatFamily family : {ChatFamily::kChatMl, ChatFamily::kLlama3, ChatFamily::kDeepSeekR1}) {
    if (chat_family_name(family) == name) return family;
  }
  return fail(Code::kNotSupported,
              "chat template \"{}\" is not supported (known: chatml, llama3, deepseek-r1)",
              name.substr(0, 64));
}

std::string_view plain_template(ChatFamily family) {
  switch (family) {
    case ChatFamily::kChatMl:
      return kChatMlTemplate;
    case ChatFamily::kLlama3:
      return kLlama3Template;
    case ChatFamily::kDeepSeekR1:
      return kDeepSeekR1Template;
    default:
      return {};
  }
}

}  // namespace deepserve::runner
