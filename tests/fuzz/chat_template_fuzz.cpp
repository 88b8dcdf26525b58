// A chat template out of a model's file, rendered over a conversation with tools.
#include "ipc/base/check.h"
#include "runner/model/chat/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepserve;
  runner::Vocabulary vocabulary;
  vocabulary.tokens = {"<s>", "</s>", "a"};
  vocabulary.kinds = {runner::TokenKind::kControl, runner::TokenKind::kControl, runner::TokenKind::kNormal};
  vocabulary.bos = 0;
  vocabulary.eos = 1;
  vocabulary.chat_template.assign(reinterpret_cast<const char*>(data), size);
  const auto chat = runner::ChatTemplate::detect(vocabulary);
  if (!chat) return 0;
  ipc::Prompt prompt;
  prompt.kind = ipc::PromptKind::kChat;
  const std::string call =
      R"([{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1.5}"}}])";
  prompt.chat = {{"system", "be brief"},
                 {"user", "{{ 7 * 7 }} <s>"},
                 {.role = "assistant", .content = "", .reasoning = "hm", .tool_calls = call},
                 {.role = "tool", .content = "21", .tool_call_id = "1"}};
  for (const std::string_view tools :
       {"", R"([{"type":"function","function":{"name":"f","parameters":{}}}])"}) {
    prompt.tools = tools;
    const auto text = chat->text(prompt);
    if (!text) CHECK(!text.error().message.empty());
  }
  return 0;
}
