// Renders a conversation into the prompt that a model was trained on.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipc/base/result.h"
#include "ipc/wire/messages.h"
#include "runner/model/chat_style.h"
#include "runner/model/tokenizer.h"

namespace deepserve::runner {

class ChatTemplate {
 public:
  // Picks the family from the Jinja source in the model's metadata by its unmistakable marks, and checks that
  // the vocabulary holds the family's control tokens. A source of no known family fails with kNotSupported
  // saying so and how to name one in the config; an empty one says that the file carries none. `Qwen`
  // defaults such as the built-in system prompt are recognised from the source and reproduced.
  static Result<ChatTemplate> detect(const Vocabulary& vocabulary);
  // The family that the config names, whatever the file says.
  static Result<ChatTemplate> of_family(ChatFamily family, const Vocabulary& vocabulary);

  // The prompt's tokens: BOS where the template puts one (nobody else may add another), the messages, the
  // generation prompt. The template's own text is parsed for control tokens, what users wrote never is; words
  // merge across the border between the two as in the rendered text. Roles: system, user, assistant. Where
  // Llama 3.1 and later state today's date, this is the template's own fallback, "26 Jul 2024": the same
  // conversation gives the same tokens every day.
  // kInvalidRequest: no messages, an unknown role. kContextLength: more text than `limit` allows.
  Result<std::vector<TokenId>> render(std::span<const ipc::ChatMessage> messages, const Tokenizer& tokenizer,
                                      const TextLimit& limit = {}) const;

  ChatFamily family() const { return style_.family; }

 private:
  static Result<ChatTemplate> of_style(ChatStyle style, const Vocabulary& vocabulary);
  ChatTemplate(ChatStyle style, TokenId bos) : style_(std::move(style)), bos_(bos) {}

  ChatStyle style_;
  TokenId bos_;  // when style_.begins_with_bos
};

}  // namespace deepserve::runner
