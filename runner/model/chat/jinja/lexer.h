// Cuts the source of a chat template into tokens, with white space handled as Hugging Face sets Jinja up:
// trim_blocks (the line break after a block goes), lstrip_blocks (so do the blanks before one), and the signs
// "-" and "+" at tags.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::runner::jinja {

enum class TokenKind : uint8_t {
  kText,           // of the template outside of tags
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kName,
  kInteger,
  kFloat,
  kString,  // without quotes and escapes
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  uint32_t line = 1;
  std::string text;
};

// kNotSupported with the line for what is not Jinja. The last token is kEnd.
Result<std::vector<Token>> cut_into_tokens(std::string_view source);

}  // namespace deepserve::runner::jinja
