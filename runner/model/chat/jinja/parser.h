// Reads the source of a chat template into a syntax tree. Source: the Jinja documentation, "Template Designer
// Documentation"; precedence as in Jinja's own parser.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "ipc/base/result.h"
#include "runner/model/chat/jinja/syntax_tree.h"

namespace deepserve::runner::jinja {

struct ParsedTemplate {
  Block body;
  std::set<std::string, std::less<>> names;    // of all variables that it reads
  std::set<std::string, std::less<>> strings;  // all string literals and attributes in its tags
};

inline constexpr size_t kSourceBytesMax = size_t{1} << 20;

// kNotSupported with the line for what is no Jinja and for what is not built in: statements, filters and
// tests are checked here, so that a template which cannot be rendered is known when it is loaded.
Result<ParsedTemplate> parse_template(std::string_view source);

}  // namespace deepserve::runner::jinja
