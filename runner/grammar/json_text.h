// How JSON spells values (RFC 8259), as expressions: the pieces that schemas are compiled to.
//
// White space is where pretty-printers put it and bounded, so that a model cannot loop on blanks: after an
// opening bracket, a comma and before a closing bracket nothing, one blank, or a new line and up to 32 blanks
// or tabs; after a colon nothing or one blank; none around the whole value. Numbers have at most 16 digits
// before and after the point and 2 in the exponent: no double overflows.
#pragma once

#include <string>
#include <string_view>

#include "runner/grammar/expressions.h"

namespace deepserve::runner {

class JsonText {
 public:
  explicit JsonText(Expressions& expressions) : out_(expressions) {}

  // Rules, made when they are first asked for.
  ExpressionId space();  // optional, see above
  ExpressionId any_value();
  ExpressionId any_object();  // with free keys
  ExpressionId any_array();
  ExpressionId any_string();
  ExpressionId any_number();
  ExpressionId any_integer();
  ExpressionId boolean() { return out_.choice({out_.literal("true"), out_.literal("false")}); }
  ExpressionId null() { return out_.literal("null"); }

  // One character of a string, in any spelling. An escaped surrogate comes with its other half.
  ExpressionId string_character();
  // One character of the set, always spelled the same way: escaped only where it has to be.
  ExpressionId spelled(const CodePointSet& set);
  // The whole string with its quotes, spelled so.
  ExpressionId spelled(std::string_view text);

  ExpressionId colon();
  ExpressionId comma();
  ExpressionId quoted(ExpressionId characters);
  // A key that the grammar does not spell out, with its quotes, but none of `except`. Its characters are
  // never escaped, so that equal keys are equal bytes (unique_keys.h).
  ExpressionId free_key(std::span<const std::string> except);
  // What stands between the brackets, or nothing.
  ExpressionId bracketed(char open, ExpressionId inside, bool may_be_empty, char close);

  // True once free_key() was used.
  bool has_free_keys() const { return has_free_keys_; }

 private:
  struct Lazy {
    bool made = false;
    RuleId rule = 0;
  };
  template <typename Make>
  ExpressionId once(Lazy& lazy, std::string name, Make make);

  Expressions& out_;
  Lazy space_, value_, object_, array_, string_, number_, integer_, character_, free_key_;
  bool has_free_keys_ = false;
};

// The JSON string of `text` (UTF-8), escaped only where it has to be.
std::string json_spelling(std::string_view text);

}  // namespace deepserve::runner
