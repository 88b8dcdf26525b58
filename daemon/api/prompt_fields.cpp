#include "daemon/api/prompt_fields.h"

#include <fmt/format.h>

#include "daemon/api/json_fields.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

// False when `value` is no list of at least one token id.
bool read_tokens(const json::value& value, ipc::Prompt& prompt) {
  const auto* list = value.if_array();
  if (list == nullptr || list->empty()) return false;
  prompt.kind = ipc::PromptKind::kTokens;
  prompt.tokens.reserve(list->size());
  for (const auto& item : *list) {
    const auto token = integer_in(item, 0, INT32_MAX);
    if (!token) return false;
    prompt.tokens.push_back(static_cast<ipc::TokenId>(*token));
  }
  return true;
}

bool read_one(const json::value& value, ipc::Prompt& prompt) {
  const auto* text = value.if_string();
  if (text == nullptr) return read_tokens(value, prompt);
  prompt.text = *text;
  return true;
}

}  // namespace

void read_prompts(Fields& fields, std::string_view name, size_t prompts_max,
                  std::vector<ipc::Prompt>& prompts) {
  const auto* value = fields.take(name);
  if (value == nullptr) return fields.fail_at(name, "is missing");
  const auto* list = value->if_array();
  const bool is_one = list == nullptr || list->empty() || list->front().is_number();
  if (is_one) {
    if (read_one(*value, prompts.emplace_back())) return;
    return fields.fail_at(name,
                          "must be a string, a list of token ids, or a list of these; none of them empty");
  }
  if (list->size() > prompts_max) {
    return fields.fail_at(
        name, fmt::format("has {} entries: at most {} are answered at once", list->size(), prompts_max));
  }
  for (size_t i = 0; i < list->size(); ++i) {
    const bool is_alike = (*list)[i].kind() == list->front().kind();
    if (is_alike && read_one((*list)[i], prompts.emplace_back())) continue;
    return fields.fail_at(
        name, fmt::format("must be a list of strings, or of lists of token ids: its entry {} is not", i));
  }
}

}  // namespace deepserve::daemon
