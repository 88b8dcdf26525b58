#include "runner/model/chat_style.h"

#include <array>
#include <optional>

namespace deepserve::runner {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(ChatFamily::kCount)> kFamilyNames = {
    "chatml", "llama3", "deepseek-r1"};

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

// Linear, also for a template that is nothing but `part`.
std::string replaced(std::string_view text, std::string_view part, std::string_view by) {
  std::string made;
  made.reserve(text.size());
  for (size_t at = text.find(part); at != text.npos; at = text.find(part)) {
    made.append(text.substr(0, at)).append(by);
    text.remove_prefix(at + part.size());
  }
  return made.append(text);
}

// Without what authors of templates do differently although it means the same: white space, kinds of quotes,
// the ways to write a line break and to name a field.
std::string squeezed(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (char c : source) {
    if (c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != '"' && c != '\'') text += c;
  }
  text = replaced(text, "\\n", "");
  text = replaced(text, "[role]", ".role");
  return replaced(text, "[content]", ".content");
}

struct Literal {
  std::string text;
  bool whole = false;  // it reached the mark that it was to be read up to
};

// The text of a Jinja string, or of the template itself when `quote` is 0, up to `end`.
Literal literal_up_to(std::string_view source, char quote, std::string_view end) {
  Literal literal;
  for (size_t at = 0; at < source.size(); ++at) {
    const std::string_view rest = source.substr(at);
    literal.whole = rest.starts_with(end);
    const bool interrupted =
        quote == 0 ? rest.starts_with("{{") || rest.starts_with("{%") : source[at] == quote;
    if (literal.whole || interrupted) break;
    if (quote != 0 && source[at] == '\\' && at + 1 < source.size()) {
      const char escaped = source[++at];
      literal.text += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped;
    } else {
      literal.text += source[at];
    }
  }
  return literal;
}

// The system prompt that a ChatML template has built in; empty: none. None when there is one that is put
// together from more than one string.
std::optional<std::string> built_in_system(std::string_view source) {
  constexpr std::string_view kBegin = "<|im_start|>system";
  for (size_t at = source.find(kBegin); at != source.npos; at = source.find(kBegin, at + 1)) {
    const char before = at == 0 ? '\0' : source[at - 1];
    const char quote = before == '\'' || before == '"' ? before : '\0';
    const std::string_view rest = source.substr(at + kBegin.size());
    if (!rest.starts_with('\n') && (quote == 0 || !rest.starts_with("\\n"))) continue;
    const Literal literal = literal_up_to(rest, quote, "<|im_end|>");
    if (literal.text.size() <= 1) continue;
    if (!literal.whole) return std::nullopt;
    return literal.text.substr(1);
  }
  return std::string();
}

std::optional<ChatStyle> chatml_style(std::string_view source, const std::string& marks) {
  const bool is_family =
      holds(marks, "<|im_end|>") && (holds(marks, "<|im_start|>+message.role++message.content") ||
                                     holds(marks, "<|im_start|>+message.role++content") ||
                                     holds(marks, "<|im_start|>{{message.role}}{{message.content}}"));
  // Phi-4 separates otherwise, Qwen3.5 trims, SmolLM3 states a reasoning mode, Hermes begins with its tools.
  const bool says_more = holds(marks, "<|im_sep|>") || holds(marks, "render_content") ||
                         holds(marks, "|trim") || holds(marks, "+content.strip()") ||
                         holds(marks, ".content.strip()") || holds(marks, "reasoning_mode") ||
                         holds(marks, "Youareafunctioncalling");
  if (!is_family || says_more) return std::nullopt;
  ChatStyle style = plain_chat_style(ChatFamily::kChatMl);
  style.begins_with_bos = holds(marks, "{{bos_token") || holds(marks, "{{-bos_token");
  std::optional<std::string> system = built_in_system(source);
  if (!system) return std::nullopt;
  style.default_system = *std::move(system);
  if (holds(marks, "<|im_start|>assistant<think>}}") || holds(marks, "<|im_start|>assistant<think>{%")) {
    style.answer_begins = "<think>\n";
  }
  if (holds(marks, "last_query_index")) {
    style.history = ChatHistory::kQwen3;
  } else if (holds(marks, "split(</think>)")) {
    if (!holds(marks, "notloop.last")) return std::nullopt;
    style.history = ChatHistory::kLastVerbatim;
  }
  return style;
}

std::optional<ChatStyle> llama3_style(const std::string& marks) {
  const bool is_family =
      holds(marks, "<|start_header_id|>+message.role+<|end_header_id|>+message.content|trim+<|eot_id|>");
  if (!is_family) return std::nullopt;
  ChatStyle style = plain_chat_style(ChatFamily::kLlama3);
  style.begins_with_bos = holds(marks, "bos_token") || holds(marks, "<|begin_of_text|>");
  style.dates_system = holds(marks, "CuttingKnowledgeDate:December2023") && holds(marks, "26Jul2024");
  // Another system block than Llama 3.1's, perhaps one that only comes when there is a system message.
  if (holds(marks, "<|start_header_id|>system") && !style.dates_system) return std::nullopt;
  if (holds(marks, "{%-ifsystem_message%}") || holds(marks, "{%ifsystem_message%}")) return std::nullopt;
  return style;
}

std::optional<ChatStyle> deepseek_style(const std::string& marks) {
  const std::string question = std::string(kDeepSeekUser) + "+message.content}}";
  const std::string opening_question =
      std::string(kDeepSeekUser) + "+content+" + std::string(kDeepSeekAssistant) + "}}";
  const bool opens = holds(marks, opening_question);
  // V3.1 closes a thought that was never opened; conditional openings are later templates' own.
  const bool says_more = holds(marks, std::string(kDeepSeekAssistant) + "</think>") ||
                         holds(marks, "{{</think>}}") || holds(marks, "enable_thinking");
  if ((!holds(marks, question) && !opens) || !holds(marks, kDeepSeekAssistant) || says_more)
    return std::nullopt;
  ChatStyle style = plain_chat_style(ChatFamily::kDeepSeekR1);
  style.begins_with_bos = holds(marks, "bos_token");
  style.joins_systems = holds(marks, "is_first_sp");
  style.question_opens_answer = opens;
  style.answer_begins = holds(marks, std::string(kDeepSeekAssistant) + "<think>}}") ? "<think>\n" : "";
  style.history =
      holds(marks, "content.split(</think>)[-1]") ? ChatHistory::kAnswersOnly : ChatHistory::kVerbatim;
  return style;
}

constexpr std::string_view kHowToName =
    "chat_template = \"chatml\" | \"llama3\" | \"deepseek-r1\" in the model's config section names one";

}  // namespace

std::string_view chat_family_name(ChatFamily family) {
  return kFamilyNames[static_cast<size_t>(family)];
}

Result<ChatFamily> chat_family_from_name(std::string_view name) {
  for (size_t i = 0; i < kFamilyNames.size(); ++i) {
    if (kFamilyNames[i] == name) return static_cast<ChatFamily>(i);
  }
  return fail(Code::kNotSupported,
              "chat template \"{}\" is not supported (known: chatml, llama3, deepseek-r1)",
              name.substr(0, 64));
}

ChatStyle plain_chat_style(ChatFamily family) {
  ChatStyle style;
  style.family = family;
  style.begins_with_bos = family != ChatFamily::kChatMl;
  if (family == ChatFamily::kDeepSeekR1) {
    style.history = ChatHistory::kAnswersOnly;
    style.answer_begins = "<think>\n";
  }
  return style;
}

Result<ChatStyle> detect_chat_style(std::string_view source) {
  if (source.empty())
    return fail(Code::kNotSupported, "the model file carries no chat template; {}", kHowToName);
  const std::string marks = squeezed(source);
  if (std::optional<ChatStyle> style = chatml_style(source, marks)) return *std::move(style);
  if (std::optional<ChatStyle> style = llama3_style(marks)) return *std::move(style);
  if (std::optional<ChatStyle> style = deepseek_style(marks)) return *std::move(style);
  return fail(Code::kNotSupported, "the model file's chat template is of no known family; {}", kHowToName);
}

}  // namespace deepserve::runner
