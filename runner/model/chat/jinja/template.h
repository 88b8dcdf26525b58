// A chat template: the Jinja source that a model's makers published, read once and rendered for each
// conversation, to the byte as Hugging Face's apply_chat_template does it.
//
// What is built in is what such templates use: if, for, set, macro, generation, break and continue; the
// filters, tests, methods and functions of filters.cpp, value_tests.cpp, methods.cpp and rendering.cpp. What
// is not built in is refused by name, and never rendered nearly right. The source is hostile input: its size
// and nesting are bounded, and so are the steps, texts and values of a rendering.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/chat/jinja/parser.h"
#include "runner/model/chat/jinja/value.h"

namespace deepserve::runner::jinja {

using Variables = std::vector<std::pair<std::string, Value>>;

class Template {
 public:
  // kNotSupported with the line and what is wrong there.
  static Result<Template> parse(std::string_view source);

  // The text, each byte with its author: the template's own words and those of users. kInvalidRequest when
  // the template calls raise_exception() or cannot do with these values what it wants to, kNotSupported for
  // what is not built in, both with the line. Users' words are left out of messages.
  Result<MarkedText> render(const Variables& variables) const;

  // Whether the variable is read anywhere in the source.
  bool reads(std::string_view variable) const { return parsed_->names.contains(variable); }
  // Whether there is such an attribute or string in the source's tags.
  bool mentions(std::string_view text) const { return parsed_->strings.contains(text); }

 private:
  explicit Template(ParsedTemplate parsed)
      : parsed_(std::make_shared<const ParsedTemplate>(std::move(parsed))) {}

  std::shared_ptr<const ParsedTemplate> parsed_;  // shared: copies of a template read the same tree
};

}  // namespace deepserve::runner::jinja
