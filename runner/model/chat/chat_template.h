// Renders a conversation into the prompt that a model was trained on.
//
// The template in the model's file is run as Hugging Face's apply_chat_template runs it (runner/model/jinja):
// system, tool and multi-turn messages, tool definitions and the template's own switches come out to the
// byte. Two things differ on purpose. What users wrote never becomes a control token, whatever it spells. And
// `strftime_now` is not defined: where Llama 3.2 and later would state today's date they state their own
// fallback, "26 Jul 2024", so that the same conversation gives the same tokens every day (the switch
// "date_string" says another date).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipc/base/result.h"
#include "ipc/wire/messages.h"
#include "runner/model/chat/chat_family.h"
#include "runner/model/chat/jinja/template.h"
#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {

class ChatTemplate {
 public:
  // The template of the model's own metadata. One that is not built in fails with kNotSupported saying what
  // it uses, where, and how to name a family in the config; an empty one says that the file carries none.
  static Result<ChatTemplate> detect(const Vocabulary& vocabulary);
  // The family that the config names, whatever the file says. kNotSupported when the vocabulary lacks one of
  // its control tokens.
  static Result<ChatTemplate> of_family(ChatFamily family, const Vocabulary& vocabulary);

  // The prompt's text, each byte with its author. Of `prompt` the chat, the tools and the template options
  // count: the options become variables of the template, and of them
  //   add_generation_prompt   (true) ends the prompt with the beginning of an answer,
  //   continue_final_message  (false) leaves the last message open, for the model to go on with it.
  // Arguments of tool calls are given to the template as the JSON that they are, and as text to templates
  // that want text.
  // kInvalidRequest: no messages, an unknown role (known: system, user, assistant, tool), what the template
  // itself refuses. kNotSupported: tools, or tool calls of an assistant, that the template has no place for.
  Result<jinja::MarkedText> text(const ipc::Prompt& prompt) const;

  // The same as tokens: control tokens are looked for in the template's own words only; words merge across
  // the border between the two as in the rendered text. BOS is there where the template puts it: nobody else
  // may add another. kContextLength: more text than `limit` allows.
  Result<std::vector<TokenId>> render(const ipc::Prompt& prompt, const Tokenizer& tokenizer,
                                      const TextLimit& limit = {}) const;

  ChatFamily family() const { return family_; }

 private:
  ChatTemplate(jinja::Template parsed, ChatFamily family, jinja::Variables specials)
      : template_(std::move(parsed)), family_(family), specials_(std::move(specials)) {}

  Result<jinja::MarkedText> rendered(const ipc::Prompt& prompt, const jinja::Variables& options,
                                     bool arguments_as_text) const;

  jinja::Template template_;
  ChatFamily family_;
  jinja::Variables specials_;  // bos_token and the like
};

}  // namespace deepserve::runner
