#include "runner/model/chat_template.h"

#include <algorithm>
#include <deque>
#include <tuple>

#include "runner/model/utf8.h"

namespace deepserve::runner {
namespace {

constexpr std::string_view kEndOfSentence =
    "<\xef\xbd\x9c"
    "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>";
constexpr std::string_view kBeginOfSentence =
    "<\xef\xbd\x9c"
    "begin\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>";
constexpr std::string_view kThinkEnd = "</think>";

using Messages = std::span<const ipc::ChatMessage>;

std::vector<std::string_view> control_tokens(ChatFamily family) {
  switch (family) {
    case ChatFamily::kChatMl:
      return {"<|im_start|>", "<|im_end|>"};
    case ChatFamily::kLlama3:
      return {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"};
    case ChatFamily::kDeepSeekR1:
      return {kDeepSeekUser, kDeepSeekAssistant, kEndOfSentence};
    case ChatFamily::kCount:
      break;
  }
  return {};
}

std::optional<TokenId> token_with_text(const Vocabulary& vocabulary, std::string_view text) {
  const auto found = std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), text);
  if (found == vocabulary.tokens.end()) return std::nullopt;
  return static_cast<TokenId>(found - vocabulary.tokens.begin());
}

std::string_view without_leading_breaks(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of('\n'), text.size()));
}

std::string_view without_trailing_breaks(std::string_view text) {
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

std::string_view after_last(std::string_view text, std::string_view mark) {
  const size_t at = text.rfind(mark);
  return at == text.npos ? text : text.substr(at + mark.size());
}

// The prompt in parts; texts that are made here live as long as it.
class Prompt {
 public:
  void own(std::string_view text) { add(text, Tokenizer::Specials::kParse); }
  void users(std::string_view text) { add(text, Tokenizer::Specials::kPlainText); }
  std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }
  std::span<const Tokenizer::Part> parts() const { return parts_; }
  uint64_t bytes() const { return bytes_; }

 private:
  void add(std::string_view text, Tokenizer::Specials specials) {
    parts_.push_back({text, specials});
    bytes_ += text.size();
  }

  uint64_t bytes_ = 0;
  std::vector<Tokenizer::Part> parts_;
  std::deque<std::string> kept_;
};

// The message that asked for what follows; the last one when no user spoke. Tool results do not count as
// questions.
size_t last_question(Messages messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    const std::string& content = messages[i].content;
    const bool tool_result = content.starts_with("<tool_response>") && content.ends_with("</tool_response>");
    if (messages[i].role == "user" && !tool_result) return i;
  }
  return messages.size() - 1;
}

void add_qwen3_answer(Prompt& prompt, std::string_view whole, bool after_question, bool last) {
  std::string_view answer = whole;
  std::string_view reasoning;
  if (const size_t end = whole.find(kThinkEnd); end != whole.npos) {
    answer = without_leading_breaks(after_last(whole, kThinkEnd));
    const std::string_view before = without_trailing_breaks(whole.substr(0, end));
    reasoning = without_leading_breaks(after_last(before, "<think>"));
  }
  if (after_question && (last || !reasoning.empty())) {
    prompt.own("<think>\n");
    prompt.users(without_trailing_breaks(reasoning));
    prompt.own("\n</think>\n\n");
    answer = without_leading_breaks(answer);
  }
  prompt.users(answer);
}

void render_chatml(Prompt& prompt, Messages messages, const ChatStyle& style) {
  if (!style.default_system.empty() && messages[0].role != "system") {
    prompt.own("<|im_start|>system\n");
    prompt.own(style.default_system);
    prompt.own("<|im_end|>\n");
  }
  const size_t question = last_question(messages);
  for (size_t i = 0; i < messages.size(); ++i) {
    const auto& [role, content] = std::tie(messages[i].role, messages[i].content);
    const bool last = i + 1 == messages.size();
    prompt.own("<|im_start|>");
    prompt.own(role);
    prompt.own("\n");
    if (role == "assistant" && style.history == ChatHistory::kQwen3) {
      add_qwen3_answer(prompt, content, i > question, last);
    } else if (role == "assistant" && style.history == ChatHistory::kLastVerbatim && !last) {
      prompt.users(without_leading_breaks(after_last(content, kThinkEnd)));
    } else {
      prompt.users(content);
    }
    prompt.own("<|im_end|>\n");
  }
  prompt.own("<|im_start|>assistant\n");
}

void render_llama3(Prompt& prompt, Messages messages, const ChatStyle& style) {
  if (style.dates_system) {
    prompt.own("<|start_header_id|>system<|end_header_id|>\n\n");
    prompt.own("Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
    if (messages[0].role == "system") {
      prompt.users(trim_like_python(messages[0].content));
      messages = messages.subspan(1);
    }
    prompt.own("<|eot_id|>");
  }
  for (const auto& message : messages) {
    const auto& [role, content] = std::tie(message.role, message.content);
    prompt.own("<|start_header_id|>");
    prompt.own(role);
    prompt.own("<|end_header_id|>\n\n");
    prompt.users(trim_like_python(content));
    prompt.own("<|eot_id|>");
  }
  prompt.own("<|start_header_id|>assistant<|end_header_id|>\n\n");
}

void render_deepseek(Prompt& prompt, Messages messages, const ChatStyle& style) {
  std::string system;
  bool first_system = true;
  for (const auto& message : messages) {
    const auto& [role, content] = std::tie(message.role, message.content);
    if (role != "system") continue;
    if (!style.joins_systems) system.clear();
    if (style.joins_systems && !first_system) system.append("\n\n");
    system.append(content);
    first_system = false;
  }
  prompt.users(prompt.keep(std::move(system)));
  bool open = false;  // the answer's mark is there already
  for (const auto& message : messages) {
    const auto& [role, content] = std::tie(message.role, message.content);
    if (role == "user") {
      prompt.own(kDeepSeekUser);
      prompt.users(content);
      if (style.question_opens_answer) prompt.own(kDeepSeekAssistant);
      open = style.question_opens_answer;
    } else if (role == "assistant") {
      if (!style.question_opens_answer) prompt.own(kDeepSeekAssistant);
      prompt.users(style.history == ChatHistory::kAnswersOnly ? after_last(content, kThinkEnd) : content);
      prompt.own(kEndOfSentence);
      open = false;
    }
  }
  if (!open) prompt.own(kDeepSeekAssistant);
}

Result<void> check_roles(Messages messages) {
  if (messages.empty()) return fail(Code::kInvalidRequest, "a conversation needs at least one message");
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role == "system" || role == "user" || role == "assistant") continue;
    return fail(Code::kInvalidRequest, "messages[{}] has an unknown role (known: system, user, assistant)",
                i);
  }
  return {};
}

Result<TokenId> bos_of(const ChatStyle& style, const Vocabulary& vocabulary) {
  if (vocabulary.bos) return *vocabulary.bos;
  const std::string_view text =
      style.family == ChatFamily::kDeepSeekR1 ? kBeginOfSentence : std::string_view("<|begin_of_text|>");
  if (const std::optional<TokenId> token = token_with_text(vocabulary, text)) return *token;
  return fail(Code::kNotSupported, "the chat template begins with a BOS token, the vocabulary has none");
}

Result<void> check_control_tokens(ChatFamily family, const Vocabulary& vocabulary) {
  for (std::string_view text : control_tokens(family)) {
    if (token_with_text(vocabulary, text)) continue;
    return fail(Code::kNotSupported, "chat template {} needs the token {}, the vocabulary has none",
                chat_family_name(family), text);
  }
  return {};
}

}  // namespace

Result<ChatTemplate> ChatTemplate::detect(const Vocabulary& vocabulary) {
  TRY_ASSIGN(ChatStyle style, detect_chat_style(vocabulary.chat_template));
  return of_style(std::move(style), vocabulary);
}

Result<ChatTemplate> ChatTemplate::of_family(ChatFamily family, const Vocabulary& vocabulary) {
  return of_style(plain_chat_style(family), vocabulary);
}

Result<ChatTemplate> ChatTemplate::of_style(ChatStyle style, const Vocabulary& vocabulary) {
  TRY(check_control_tokens(style.family, vocabulary));
  TokenId bos = 0;
  if (style.begins_with_bos) {
    TRY_ASSIGN(bos, bos_of(style, vocabulary));
  }
  return ChatTemplate(std::move(style), bos);
}

Result<std::vector<TokenId>> ChatTemplate::render(Messages messages, const Tokenizer& tokenizer,
                                                  const TextLimit& limit) const {
  TRY(check_roles(messages));
  Prompt prompt;
  switch (style_.family) {
    case ChatFamily::kChatMl:
      render_chatml(prompt, messages, style_);
      break;
    case ChatFamily::kLlama3:
      render_llama3(prompt, messages, style_);
      break;
    case ChatFamily::kDeepSeekR1:
      render_deepseek(prompt, messages, style_);
      break;
    case ChatFamily::kCount:
      break;
  }
  prompt.own(style_.answer_begins);
  TRY(limit.check(prompt.bytes()));
  std::vector<TokenId> tokens = tokenizer.encode_parts(prompt.parts());
  if (style_.begins_with_bos) tokens.insert(tokens.begin(), bos_);
  return tokens;
}

}  // namespace deepserve::runner
