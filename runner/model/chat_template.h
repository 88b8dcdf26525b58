// Renders a conversation into the prompt that a model was trained on.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "ipc/wire/messages.h"
#include "runner/model/tokenizer.h"

namespace deepserve::runner {

enum class ChatFamily : uint8_t { kChatMl, kLlama3, kDeepSeekR1, kCount };
std::string_view chat_family_name(ChatFamily family);  // "chatml", "llama3", "deepseek-r1"
Result<ChatFamily> chat_family_from_name(std::string_view name);

class ChatTemplate {
 public:
  // Picks the family from the Jinja source in the model's metadata by its unmistakable marks, and checks that the
  // vocabulary holds the family's control tokens. A source of no known family fails with kNotSupported saying so and
  // how to name one in the config; an empty one says that the file carries none. `Qwen` defaults such as the built-in
  // system prompt are recognised from the source and reproduced.
  static Result<ChatTemplate> detect(const Vocabulary& vocabulary);
  // The family that the config names, whatever the file says.
  static Result<ChatTemplate> of_family(ChatFamily family, const Vocabulary& vocabulary);

  // The prompt's tokens, generation prompt included. The template's own text is parsed for control tokens, what users
  // wrote never is. kInvalidRequest: no messages, an unknown role, roles in an order the family cannot say.
  Result<std::vector<TokenId>> render(std::span<const ipc::ChatMessage> messages, const Tokenizer& tokenizer) const;

  ChatFamily family() const { return family_; }

 private:
  ChatFamily family_ = ChatFamily::kChatMl;
  std::string default_system_;  // put first when the conversation has no system message; empty: none
};

}  // namespace deepserve::runner
