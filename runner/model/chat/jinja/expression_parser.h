// Reads the expressions inside the tags of a chat template.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/chat/jinja/lexer.h"
#include "runner/model/chat/jinja/parser.h"
#include "runner/model/chat/jinja/syntax_tree.h"

namespace deepserve::runner::jinja {

// The tokens of a template, read one after the other.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& now() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  uint32_t line() const { return now().line; }
  void skip() { at_ += at_ + 1 < tokens_.size() ? 1 : 0; }

  bool is(TokenKind kind, std::string_view text) const { return now().kind == kind && now().text == text; }
  bool is_operator(std::string_view text) const { return is(TokenKind::kOperator, text); }
  bool is_name(std::string_view text) const { return is(TokenKind::kName, text); }
  bool take_operator(std::string_view text);
  bool take_name(std::string_view text);
  Result<void> want_operator(std::string_view text);
  Result<void> want(TokenKind kind, std::string_view what);
  Result<std::string> want_identifier();

  tl::unexpected<Error> bad(std::string_view what) const;

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

class ExpressionParser {
 public:
  // Both borrowed; the names and strings of what is read are added to `parsed`.
  ExpressionParser(TokenStream& tokens, ParsedTemplate& parsed) : tokens_(tokens), parsed_(parsed) {}

  using Parsed = Result<ExpressionPtr>;
  // "a if b else c"; with `conditional` false "if" ends it, as in the list of a for loop.
  Parsed expression(bool conditional = true);
  // One expression, or several with commas: a list.
  Parsed list_or_expression(bool conditional = true);

 private:
  class Depth;
  std::unique_ptr<Expression> make(ExpressionKind kind) const;
  // `made` with its operands in place; refused when it has become too deep to be walked through.
  Parsed whole(std::unique_ptr<Expression> made) const;
  Parsed binary(ExpressionPtr left, Operator operation, ExpressionPtr right) const;
  Parsed disjunction();
  Parsed conjunction();
  Parsed negation();
  Parsed comparison();
  Parsed sum();
  Parsed concatenation();
  Parsed product();
  Parsed unary(bool with_filters);
  Parsed primary();
  Parsed name_or_constant();
  Parsed list(std::string_view closing);
  Parsed dict();
  Parsed tuple_or_group();
  Parsed postfix(ExpressionPtr value);
  Parsed attribute(ExpressionPtr value);
  Parsed subscript(ExpressionPtr value);
  Parsed call(ExpressionPtr callee);
  Parsed filters(ExpressionPtr value);
  Parsed filter(ExpressionPtr value);
  Parsed test(ExpressionPtr value);
  Result<void> arguments(Expression& call);

  TokenStream& tokens_;
  ParsedTemplate& parsed_;
  uint32_t depth_ = 0;
};

}  // namespace deepserve::runner::jinja
