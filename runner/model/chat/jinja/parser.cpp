#include "runner/model/chat/jinja/parser.h"

#include <algorithm>

#include "runner/model/chat/jinja/expression_parser.h"

namespace deepserve::runner::jinja {
namespace {

constexpr uint32_t kBlockDepthMax = 32;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)), expressions_(tokens_, parsed_) {}

  Result<ParsedTemplate> run() {
    TRY_ASSIGN(parsed_.body, block({}));
    return std::move(parsed_);
  }

 private:
  using Names = std::initializer_list<std::string_view>;

  // Statements up to a tag with one of the names, whose name is taken; to the end of the source when there
  // are none.
  Result<Block> block(Names ends) {
    if (++depth_ > kBlockDepthMax) return tokens_.bad("blocks are nested too deeply");
    Block made;
    while (true) {
      const TokenKind kind = tokens_.now().kind;
      if (kind == TokenKind::kEnd) {
        if (ends.size() != 0) return tokens_.bad(fmt::format("\"{}\" is missing", *(ends.end() - 1)));
        break;
      }
      if (kind == TokenKind::kText) {
        Statement& text = made.emplace_back();
        text.text = MarkedText(tokens_.now().text, Author::kTemplate);
        tokens_.skip();
      } else if (kind == TokenKind::kVariableBegin) {
        tokens_.skip();
        Statement& output = add(made, StatementKind::kOutput);
        TRY_ASSIGN(output.value, expressions_.list_or_expression());
        TRY(tokens_.want(TokenKind::kVariableEnd, "\"}}\""));
      } else {
        tokens_.skip();
        TRY_ASSIGN(const std::string name, tokens_.want_identifier());
        if (std::find(ends.begin(), ends.end(), name) != ends.end()) {
          ended_by_ = name;
          break;
        }
        TRY(statement(made, name));
      }
    }
    --depth_;
    return made;
  }

  Statement& add(Block& block, StatementKind kind) const {
    Statement& made = block.emplace_back();
    made.kind = kind;
    made.line = tokens_.line();
    return made;
  }

  Result<void> end_of_tag() { return tokens_.want(TokenKind::kBlockEnd, "\"%}\""); }

  Result<void> statement(Block& block, const std::string& name) {
    if (name == "if") return branch(add(block, StatementKind::kIf));
    if (name == "for") return loop(add(block, StatementKind::kFor));
    if (name == "set") return assignment(add(block, StatementKind::kSet));
    if (name == "macro") return macro(add(block, StatementKind::kMacro));
    if (name == "generation") return generation(add(block, StatementKind::kScope));
    if (name == "break" || name == "continue") {
      if (loops_ == 0) return tokens_.bad(fmt::format("\"{}\" outside of a loop", name));
      add(block, name == "break" ? StatementKind::kBreak : StatementKind::kContinue);
      return end_of_tag();
    }
    return tokens_.bad(fmt::format("the statement \"{}\" is not supported", name));
  }

  Result<void> branch(Statement& made) {
    TRY_ASSIGN(made.value, expressions_.list_or_expression());
    TRY(end_of_tag());
    TRY_ASSIGN(made.body, block({"elif", "else", "endif"}));
    if (ended_by_ == "elif") {
      if (++depth_ > kBlockDepthMax) return tokens_.bad("too many branches");
      TRY(branch(add(made.otherwise, StatementKind::kIf)));
      --depth_;
      return {};
    }
    if (ended_by_ == "else") {
      TRY(end_of_tag());
      TRY_ASSIGN(made.otherwise, block({"endif"}));
    }
    return end_of_tag();
  }

  Result<void> loop(Statement& made) {
    do {
      TRY_ASSIGN(made.targets.emplace_back(), tokens_.want_identifier());
    } while (tokens_.take_operator(","));
    if (!tokens_.take_name("in")) return tokens_.bad("\"in\" is missing");
    TRY_ASSIGN(made.value, expressions_.list_or_expression(false));
    if (tokens_.take_name("if")) {
      TRY_ASSIGN(made.condition, expressions_.expression());
    }
    if (tokens_.is_name("recursive")) return tokens_.bad("recursive loops are not supported");
    TRY(end_of_tag());
    ++loops_;
    TRY_ASSIGN(made.body, block({"else", "endfor"}));
    --loops_;
    if (ended_by_ == "else") {
      TRY(end_of_tag());
      TRY_ASSIGN(made.otherwise, block({"endfor"}));
    }
    return end_of_tag();
  }

  Result<void> assignment(Statement& made) {
    TRY_ASSIGN(made.targets.emplace_back(), tokens_.want_identifier());
    if (tokens_.take_operator(".")) {
      made.is_attribute = true;
      TRY_ASSIGN(made.targets.emplace_back(), tokens_.want_identifier());
    }
    while (!made.is_attribute && tokens_.take_operator(",")) {
      TRY_ASSIGN(made.targets.emplace_back(), tokens_.want_identifier());
    }
    if (tokens_.take_operator("=")) {
      TRY_ASSIGN(made.value, expressions_.list_or_expression());
      return end_of_tag();
    }
    if (made.targets.size() != 1) return tokens_.bad("\"=\" is missing");
    made.kind = StatementKind::kSetBlock;
    TRY(end_of_tag());
    TRY_ASSIGN(made.body, block({"endset"}));
    return end_of_tag();
  }

  Result<void> macro(Statement& made) {
    auto definition = std::make_unique<MacroDefinition>();
    TRY_ASSIGN(definition->name, tokens_.want_identifier());
    TRY(tokens_.want_operator("("));
    while (!tokens_.take_operator(")")) {
      if (!definition->parameters.empty()) TRY(tokens_.want_operator(","));
      TRY_ASSIGN(std::string name, tokens_.want_identifier());
      ExpressionPtr otherwise;
      if (tokens_.take_operator("=")) {
        TRY_ASSIGN(otherwise, expressions_.expression());
      }
      definition->parameters.emplace_back(std::move(name), std::move(otherwise));
    }
    TRY(end_of_tag());
    const uint32_t outer_loops = std::exchange(loops_, 0);
    TRY_ASSIGN(definition->body, block({"endmacro"}));
    loops_ = outer_loops;
    made.macro = std::move(definition);
    return end_of_tag();
  }

  Result<void> generation(Statement& made) {
    TRY(end_of_tag());
    TRY_ASSIGN(made.body, block({"endgeneration"}));
    return end_of_tag();
  }

  TokenStream tokens_;
  ParsedTemplate parsed_;
  ExpressionParser expressions_;
  std::string ended_by_;
  uint32_t depth_ = 0;
  uint32_t loops_ = 0;
};

}  // namespace

Result<ParsedTemplate> parse_template(std::string_view source) {
  if (source.size() > kSourceBytesMax)
    return fail(Code::kNotSupported, "the template has {} bytes, more than {}", source.size(),
                kSourceBytesMax);
  TRY_ASSIGN(std::vector<Token> tokens, cut_into_tokens(source));
  return Parser(std::move(tokens)).run();
}

}  // namespace deepserve::runner::jinja
