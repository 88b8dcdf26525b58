#include "runner/model/chat/chat_template.h"

#include <algorithm>

#include "runner/model/chat/chat_variables.h"
#include "runner/model/chat/jinja/text_functions.h"

namespace deepserve::runner {
namespace {

using jinja::Author;
using jinja::MarkedText;
using jinja::Value;

constexpr std::string_view kRoles[] = {"system", "user", "assistant", "tool"};
constexpr std::string_view kHowToName =
    "chat_template = \"chatml\" | \"llama3\" | \"deepseek-r1\" in the model's config section names one";

// Stands at the end of a message that is to be continued while it is rendered, as in transformers.
constexpr std::string_view kContinueMark = "CONTINUE_FINAL_MESSAGE_TAG ";

std::vector<std::string_view> control_tokens(ChatFamily family) {
  switch (family) {
    case ChatFamily::kChatMl:
      return {"<|im_start|>", "<|im_end|>"};
    case ChatFamily::kLlama3:
      return {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"};
    case ChatFamily::kDeepSeekR1:
      return {"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"};
    default:
      return {};
  }
}

bool has_token(const Vocabulary& vocabulary, std::string_view text) {
  return std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), text) != vocabulary.tokens.end();
}

// What the template may call bos_token, eos_token and unk_token.
jinja::Variables special_tokens(const Vocabulary& vocabulary, ChatFamily family) {
  jinja::Variables specials;
  const auto add = [&](std::string name, std::string_view text) {
    specials.emplace_back(std::move(name), Value(text, Author::kTemplate));
  };
  const auto add_token = [&](std::string name, const std::optional<TokenId>& token) {
    if (token && *token < vocabulary.tokens.size()) add(std::move(name), vocabulary.tokens[*token]);
  };
  add_token("bos_token", vocabulary.bos);
  if (!vocabulary.bos) {
    const bool deepseek = family == ChatFamily::kDeepSeekR1 || family == ChatFamily::kDeepSeek;
    const std::string_view text = deepseek ? "<｜begin▁of▁sentence｜>" : "<|begin_of_text|>";
    if (has_token(vocabulary, text)) add("bos_token", text);
  }
  add_token("eos_token", vocabulary.eos);
  add_token("unk_token", vocabulary.unknown);
  return specials;
}

Result<void> check_messages(const ipc::Prompt& prompt) {
  if (prompt.chat.empty()) return fail(Code::kInvalidRequest, "a conversation needs at least one message");
  for (size_t i = 0; i < prompt.chat.size(); ++i) {
    if (std::find(std::begin(kRoles), std::end(kRoles), prompt.chat[i].role) != std::end(kRoles)) continue;
    return fail(Code::kInvalidRequest,
                "messages[{}] has an unknown role (known: system, user, assistant, tool)", i);
  }
  return {};
}

// What a template does not read it would leave out without a word.
Result<void> check_places(const ipc::Prompt& prompt, const jinja::Template& chat) {
  if (!prompt.tools.empty() && !chat.reads("tools"))
    return fail(Code::kNotSupported, "tools: this model's chat template has no place for tools");
  for (size_t i = 0; i < prompt.chat.size(); ++i) {
    if (!prompt.chat[i].tool_calls.empty() && !chat.mentions("tool_calls"))
      return fail(Code::kNotSupported,
                  "messages[{}].tool_calls: this model's chat template has no place for tool calls", i);
  }
  return {};
}

bool is_option_set(const jinja::Variables& options, std::string_view name) {
  return std::any_of(options.begin(), options.end(),
                     [&](const auto& option) { return option.first == name && option.second.truth(); });
}

// `text` up to where the last message ends in it.
Result<MarkedText> up_to_continue_mark(const MarkedText& text) {
  const std::string_view bytes = text.bytes();
  const std::string_view word = kContinueMark.substr(0, kContinueMark.size() - 1);
  const size_t at = bytes.rfind(word);
  if (at == bytes.npos) {
    return fail(Code::kInvalidRequest,
                "continue_final_message: this model's chat template does not end with the last message");
  }
  MarkedText kept = text.slice(0, at);
  if (bytes.substr(at).starts_with(kContinueMark)) return kept;
  return strip(kept, jinja::Side::kRight, std::nullopt);
}

Error of_template(Error error) {
  error.message = "the model's chat template, " + error.message;
  return error;
}

}  // namespace

Result<ChatTemplate> ChatTemplate::detect(const Vocabulary& vocabulary) {
  const std::string& source = vocabulary.chat_template;
  if (source.empty())
    return fail(Code::kNotSupported, "the model file carries no chat template; {}", kHowToName);
  auto parsed = jinja::Template::parse(source);
  if (!parsed) {
    return fail(parsed.error().code, "the model file's chat template cannot be used: {}; {}",
                parsed.error().message, kHowToName);
  }
  const ChatFamily family = family_of_template(source);
  return ChatTemplate(std::move(*parsed), family, special_tokens(vocabulary, family));
}

Result<ChatTemplate> ChatTemplate::of_family(ChatFamily family, const Vocabulary& vocabulary) {
  for (std::string_view text : control_tokens(family)) {
    if (has_token(vocabulary, text)) continue;
    return fail(Code::kNotSupported, "chat template {} needs the token {}, the vocabulary has none",
                chat_family_name(family), text);
  }
  TRY_ASSIGN(jinja::Template parsed, jinja::Template::parse(plain_template(family)));
  jinja::Variables specials = special_tokens(vocabulary, family);
  const bool has_bos = std::any_of(specials.begin(), specials.end(),
                                   [](const auto& special) { return special.first == "bos_token"; });
  if (parsed.reads("bos_token") && !has_bos)
    return fail(Code::kNotSupported, "the chat template begins with a BOS token, the vocabulary has none");
  return ChatTemplate(std::move(parsed), family, std::move(specials));
}

Result<MarkedText> ChatTemplate::rendered(const ipc::Prompt& prompt, const jinja::Variables& options,
                                          bool arguments_as_text) const {
  jinja::Variables variables = specials_;
  TRY_ASSIGN(Value messages, messages_variable(prompt, arguments_as_text));
  TRY_ASSIGN(Value tools, tools_variable(prompt));
  variables.emplace_back("messages", std::move(messages));
  variables.emplace_back("tools", std::move(tools));
  variables.emplace_back("documents", Value(jinja::None()));
  variables.emplace_back("add_generation_prompt", Value(true));
  variables.insert(variables.end(), options.begin(), options.end());
  auto text = template_.render(variables);
  if (!text) return tl::unexpected(of_template(std::move(text.error())));
  return text;
}

Result<MarkedText> ChatTemplate::text(const ipc::Prompt& prompt) const {
  TRY(check_messages(prompt));
  TRY(check_places(prompt, template_));
  TRY_ASSIGN(const jinja::Variables options, option_variables(prompt));
  const bool continues = is_option_set(options, "continue_final_message");
  if (continues && is_option_set(options, "add_generation_prompt"))
    return fail(Code::kInvalidRequest, "continue_final_message and add_generation_prompt exclude each other");
  jinja::Variables variables = options;
  ipc::Prompt marked;
  if (continues) {
    marked = prompt;
    marked.chat.back().content += kContinueMark;
    variables.emplace_back("add_generation_prompt", Value(false));
  }
  const ipc::Prompt& source = continues ? marked : prompt;
  auto text = rendered(source, variables, false);
  const bool has_calls = std::any_of(prompt.chat.begin(), prompt.chat.end(),
                                     [](const auto& message) { return !message.tool_calls.empty(); });
  if (!text && has_calls) {
    if (auto with_texts = rendered(source, variables, true)) text = std::move(with_texts);
  }
  if (!text || !continues) return text;
  return up_to_continue_mark(*text);
}

Result<std::vector<TokenId>> ChatTemplate::render(const ipc::Prompt& prompt, const Tokenizer& tokenizer,
                                                  const TextLimit& limit) const {
  // Rendering what cannot be taken would be in vain: all known templates repeat what users say.
  uint64_t bytes = 0;
  for (const ipc::ChatMessage& message : prompt.chat)
    bytes += message.role == "user" ? message.content.size() : 0;
  if (family_ != ChatFamily::kCustom) TRY(limit.check(bytes));
  TRY_ASSIGN(const MarkedText text, this->text(prompt));
  TRY(limit.check(text.size()));
  std::vector<Tokenizer::Part> parts;
  size_t begin = 0;
  for (const MarkedText::Run& run : text.runs()) {
    parts.push_back({text.bytes().substr(begin, run.end - begin), run.author == Author::kTemplate
                                                                      ? Tokenizer::Specials::kParse
                                                                      : Tokenizer::Specials::kPlainText});
    begin = run.end;
  }
  return tokenizer.encode_parts(parts);
}

}  // namespace deepserve::runner
