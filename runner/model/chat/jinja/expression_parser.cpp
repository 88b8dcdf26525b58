#include "runner/model/chat/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>

#include "runner/model/chat/jinja/filters.h"
#include "runner/model/chat/jinja/value_tests.h"

namespace deepserve::runner::jinja {
namespace {

constexpr uint32_t kBracketDepthMax = 64;
constexpr uint32_t kTreeDepthMax = 100;

struct NamedOperator {
  std::string_view text;
  Operator operation;
};
constexpr NamedOperator kComparisons[] = {
    {"==", Operator::kEqual},       {"!=", Operator::kNotEqual}, {"<", Operator::kLess},
    {"<=", Operator::kLessOrEqual}, {">", Operator::kGreater},   {">=", Operator::kGreaterOrEqual},
};
constexpr NamedOperator kSums[] = {{"+", Operator::kAdd}, {"-", Operator::kSubtract}};
constexpr NamedOperator kProducts[] = {{"*", Operator::kMultiply},
                                       {"/", Operator::kDivide},
                                       {"//", Operator::kFloorDivide},
                                       {"%", Operator::kModulo}};

template <size_t kCount>
Operator take_one_of(TokenStream& tokens, const NamedOperator (&operators)[kCount]) {
  for (const NamedOperator& one : operators) {
    if (tokens.take_operator(one.text)) return one.operation;
  }
  return Operator::kNone;
}

}  // namespace

bool TokenStream::take_operator(std::string_view text) {
  const bool taken = is_operator(text);
  if (taken) skip();
  return taken;
}

bool TokenStream::take_name(std::string_view text) {
  const bool taken = is_name(text);
  if (taken) skip();
  return taken;
}

Result<void> TokenStream::want_operator(std::string_view text) {
  if (take_operator(text)) return {};
  return bad(fmt::format("\"{}\" is missing", text));
}

Result<void> TokenStream::want(TokenKind kind, std::string_view what) {
  if (now().kind != kind) return bad(fmt::format("{} is missing", what));
  skip();
  return {};
}

Result<std::string> TokenStream::want_identifier() {
  if (now().kind != TokenKind::kName) return bad("a name is missing");
  std::string name = now().text;
  skip();
  return name;
}

tl::unexpected<Error> TokenStream::bad(std::string_view what) const {
  return fail(Code::kNotSupported, "line {}: {}", line(), what);
}

// One more level of brackets or signs, for as long as it lives.
class ExpressionParser::Depth {
 public:
  explicit Depth(uint32_t& depth) : depth_(depth) { ++depth_; }
  ~Depth() { --depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;
  bool too_deep() const { return depth_ > kBracketDepthMax; }

 private:
  uint32_t& depth_;
};

std::unique_ptr<Expression> ExpressionParser::make(ExpressionKind kind) const {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = tokens_.line();
  return made;
}

ExpressionParser::Parsed ExpressionParser::whole(std::unique_ptr<Expression> made) const {
  for (const ExpressionPtr& operand : made->operands) {
    if (operand != nullptr) made->depth = std::max(made->depth, operand->depth + 1);
  }
  for (const auto& [name, value] : made->named) made->depth = std::max(made->depth, value->depth + 1);
  if (made->depth > kTreeDepthMax) return tokens_.bad("an expression has too many parts");
  return made;
}

ExpressionParser::Parsed ExpressionParser::binary(ExpressionPtr left, Operator operation,
                                                  ExpressionPtr right) const {
  auto made = make(ExpressionKind::kBinary);
  made->operation = operation;
  made->operands.push_back(std::move(left));
  made->operands.push_back(std::move(right));
  return whole(std::move(made));
}

ExpressionParser::Parsed ExpressionParser::expression(bool conditional) {
  const Depth depth(depth_);
  if (depth.too_deep()) return tokens_.bad("an expression is nested too deeply");
  TRY_ASSIGN(ExpressionPtr value, disjunction());
  while (conditional && tokens_.take_name("if")) {
    auto made = make(ExpressionKind::kConditional);
    TRY_ASSIGN(ExpressionPtr condition, disjunction());
    made->operands.push_back(std::move(value));
    made->operands.push_back(std::move(condition));
    if (tokens_.take_name("else")) {
      TRY_ASSIGN(ExpressionPtr otherwise, expression());
      made->operands.push_back(std::move(otherwise));
    }
    TRY_ASSIGN(value, whole(std::move(made)));
  }
  return value;
}

ExpressionParser::Parsed ExpressionParser::list_or_expression(bool conditional) {
  TRY_ASSIGN(ExpressionPtr first, expression(conditional));
  if (!tokens_.is_operator(",")) return first;
  auto made = make(ExpressionKind::kTuple);
  made->operands.push_back(std::move(first));
  while (tokens_.take_operator(",")) {
    const TokenKind kind = tokens_.now().kind;
    if (kind == TokenKind::kBlockEnd || kind == TokenKind::kVariableEnd || tokens_.is_operator(")")) break;
    TRY_ASSIGN(ExpressionPtr item, expression(conditional));
    made->operands.push_back(std::move(item));
  }
  return whole(std::move(made));
}

ExpressionParser::Parsed ExpressionParser::disjunction() {
  TRY_ASSIGN(ExpressionPtr left, conjunction());
  while (tokens_.take_name("or")) {
    TRY_ASSIGN(ExpressionPtr right, conjunction());
    TRY_ASSIGN(left, binary(std::move(left), Operator::kOr, std::move(right)));
  }
  return left;
}

ExpressionParser::Parsed ExpressionParser::conjunction() {
  TRY_ASSIGN(ExpressionPtr left, negation());
  while (tokens_.take_name("and")) {
    TRY_ASSIGN(ExpressionPtr right, negation());
    TRY_ASSIGN(left, binary(std::move(left), Operator::kAnd, std::move(right)));
  }
  return left;
}

ExpressionParser::Parsed ExpressionParser::negation() {
  const Depth depth(depth_);
  if (depth.too_deep()) return tokens_.bad("an expression is nested too deeply");
  if (!tokens_.take_name("not")) return comparison();
  auto made = make(ExpressionKind::kUnary);
  made->operation = Operator::kNot;
  TRY_ASSIGN(ExpressionPtr value, negation());
  made->operands.push_back(std::move(value));
  return whole(std::move(made));
}

ExpressionParser::Parsed ExpressionParser::comparison() {
  TRY_ASSIGN(ExpressionPtr first, sum());
  auto made = make(ExpressionKind::kComparison);
  made->operands.push_back(std::move(first));
  while (true) {
    Operator operation = take_one_of(tokens_, kComparisons);
    if (operation == Operator::kNone && tokens_.take_name("in")) operation = Operator::kIn;
    if (operation == Operator::kNone && tokens_.is_name("not") && tokens_.next().kind == TokenKind::kName &&
        tokens_.next().text == "in") {
      tokens_.skip();
      tokens_.skip();
      operation = Operator::kNotIn;
    }
    if (operation == Operator::kNone) break;
    TRY_ASSIGN(ExpressionPtr operand, sum());
    made->operations.push_back(operation);
    made->operands.push_back(std::move(operand));
  }
  if (made->operations.empty()) return std::move(made->operands[0]);
  return whole(std::move(made));
}

ExpressionParser::Parsed ExpressionParser::sum() {
  TRY_ASSIGN(ExpressionPtr left, concatenation());
  for (Operator one = take_one_of(tokens_, kSums); one != Operator::kNone;
       one = take_one_of(tokens_, kSums)) {
    TRY_ASSIGN(ExpressionPtr right, concatenation());
    TRY_ASSIGN(left, binary(std::move(left), one, std::move(right)));
  }
  return left;
}

ExpressionParser::Parsed ExpressionParser::concatenation() {
  TRY_ASSIGN(ExpressionPtr left, product());
  while (tokens_.take_operator("~")) {
    TRY_ASSIGN(ExpressionPtr right, product());
    TRY_ASSIGN(left, binary(std::move(left), Operator::kConcatenate, std::move(right)));
  }
  return left;
}

ExpressionParser::Parsed ExpressionParser::product() {
  TRY_ASSIGN(ExpressionPtr left, unary(true));
  for (Operator one = take_one_of(tokens_, kProducts); one != Operator::kNone;
       one = take_one_of(tokens_, kProducts)) {
    TRY_ASSIGN(ExpressionPtr right, unary(true));
    TRY_ASSIGN(left, binary(std::move(left), one, std::move(right)));
  }
  return left;
}

// A sign binds more tightly than a filter, and less than an attribute.
ExpressionParser::Parsed ExpressionParser::unary(bool with_filters) {
  const Depth depth(depth_);
  if (depth.too_deep()) return tokens_.bad("an expression is nested too deeply");
  ExpressionPtr value;
  if (tokens_.is_operator("-") || tokens_.is_operator("+")) {
    auto made = make(ExpressionKind::kUnary);
    made->operation = tokens_.is_operator("-") ? Operator::kNegate : Operator::kAdd;
    tokens_.skip();
    TRY_ASSIGN(ExpressionPtr operand, unary(false));
    made->operands.push_back(std::move(operand));
    TRY_ASSIGN(value, whole(std::move(made)));
  } else {
    TRY_ASSIGN(value, primary());
    TRY_ASSIGN(value, postfix(std::move(value)));
  }
  if (!with_filters) return value;
  return filters(std::move(value));
}

ExpressionParser::Parsed ExpressionParser::primary() {
  const Token& token = tokens_.now();
  if (token.kind == TokenKind::kName) return name_or_constant();
  if (token.kind == TokenKind::kString) {
    auto made = make(ExpressionKind::kLiteral);
    std::string text;
    for (; tokens_.now().kind == TokenKind::kString; tokens_.skip()) text += tokens_.now().text;
    parsed_.strings.insert(text);
    made->literal = Value(text, Author::kTemplate);
    return made;
  }
  if (token.kind == TokenKind::kInteger || token.kind == TokenKind::kFloat) {
    auto made = make(ExpressionKind::kLiteral);
    const char* begin = token.text.data();
    const char* end = begin + token.text.size();
    int64_t integer = 0;
    double number = 0;
    const bool is_integer = token.kind == TokenKind::kInteger;
    const auto problem =
        is_integer ? std::from_chars(begin, end, integer).ec : std::from_chars(begin, end, number).ec;
    if (problem != std::errc()) return tokens_.bad("a number that is too large");
    made->literal = is_integer ? Value(integer) : Value(number);
    tokens_.skip();
    return made;
  }
  if (tokens_.take_operator("(")) return tuple_or_group();
  if (tokens_.take_operator("[")) return list("]");
  if (tokens_.take_operator("{")) return dict();
  return tokens_.bad("an expression is missing");
}

ExpressionParser::Parsed ExpressionParser::name_or_constant() {
  auto made = make(ExpressionKind::kLiteral);
  const std::string name = tokens_.now().text;
  tokens_.skip();
  if (name == "true" || name == "True") {
    made->literal = Value(true);
  } else if (name == "false" || name == "False") {
    made->literal = Value(false);
  } else if (name == "none" || name == "None") {
    made->literal = Value(None());
  } else {
    made->kind = ExpressionKind::kName;
    made->name = name;
    parsed_.names.insert(name);
  }
  return made;
}

// What follows a "(" that is no call.
ExpressionParser::Parsed ExpressionParser::tuple_or_group() {
  if (tokens_.take_operator(")")) return make(ExpressionKind::kTuple);
  TRY_ASSIGN(ExpressionPtr value, list_or_expression());
  TRY(tokens_.want_operator(")"));
  return value;
}

ExpressionParser::Parsed ExpressionParser::list(std::string_view closing) {
  auto made = make(ExpressionKind::kList);
  while (!tokens_.take_operator(closing)) {
    if (!made->operands.empty()) {
      TRY(tokens_.want_operator(","));
      if (tokens_.take_operator(closing)) break;
    }
    TRY_ASSIGN(ExpressionPtr item, expression());
    made->operands.push_back(std::move(item));
  }
  return whole(std::move(made));
}

ExpressionParser::Parsed ExpressionParser::dict() {
  auto made = make(ExpressionKind::kDict);
  while (!tokens_.take_operator("}")) {
    if (!made->operands.empty()) {
      TRY(tokens_.want_operator(","));
      if (tokens_.take_operator("}")) break;
    }
    TRY_ASSIGN(ExpressionPtr key, expression());
    TRY(tokens_.want_operator(":"));
    TRY_ASSIGN(ExpressionPtr item, expression());
    made->operands.push_back(std::move(key));
    made->operands.push_back(std::move(item));
  }
  return whole(std::move(made));
}

ExpressionParser::Parsed ExpressionParser::postfix(ExpressionPtr value) {
  while (true) {
    if (tokens_.take_operator(".")) {
      TRY_ASSIGN(value, attribute(std::move(value)));
    } else if (tokens_.take_operator("[")) {
      TRY_ASSIGN(value, subscript(std::move(value)));
    } else if (tokens_.take_operator("(")) {
      TRY_ASSIGN(value, call(std::move(value)));
    } else {
      return value;
    }
  }
}

ExpressionParser::Parsed ExpressionParser::attribute(ExpressionPtr value) {
  auto made = make(ExpressionKind::kAttribute);
  TRY_ASSIGN(made->name, tokens_.want_identifier());
  parsed_.strings.insert(made->name);
  made->operands.push_back(std::move(value));
  return whole(std::move(made));
}

ExpressionParser::Parsed ExpressionParser::subscript(ExpressionPtr value) {
  auto made = make(ExpressionKind::kItem);
  made->operands.push_back(std::move(value));
  const auto part = [&]() -> Result<void> {
    ExpressionPtr read;
    if (!tokens_.is_operator(":") && !tokens_.is_operator("]")) {
      TRY_ASSIGN(read, expression());
    }
    made->operands.push_back(std::move(read));
    return {};
  };
  TRY(part());
  while (tokens_.take_operator(":") && made->operands.size() < 4) {
    made->kind = ExpressionKind::kSlice;
    TRY(part());
  }
  TRY(tokens_.want_operator("]"));
  if (made->kind == ExpressionKind::kSlice) {
    made->operands.resize(4);
  } else if (made->operands[1] == nullptr) {
    return tokens_.bad("an index is missing");
  }
  return whole(std::move(made));
}

ExpressionParser::Parsed ExpressionParser::call(ExpressionPtr callee) {
  auto made = make(ExpressionKind::kCall);
  made->operands.push_back(std::move(callee));
  TRY(arguments(*made));
  return whole(std::move(made));
}

// Up to the closing bracket.
Result<void> ExpressionParser::arguments(Expression& call) {
  bool first = true;
  while (!tokens_.take_operator(")")) {
    if (!first) {
      TRY(tokens_.want_operator(","));
      if (tokens_.take_operator(")")) break;
    }
    first = false;
    const bool named = tokens_.now().kind == TokenKind::kName &&
                       tokens_.next().kind == TokenKind::kOperator && tokens_.next().text == "=";
    std::string name;
    if (named) {
      name = tokens_.now().text;
      tokens_.skip();
      tokens_.skip();
    }
    TRY_ASSIGN(ExpressionPtr value, expression());
    if (named) {
      call.named.emplace_back(std::move(name), std::move(value));
    } else {
      call.operands.push_back(std::move(value));
    }
  }
  return {};
}

ExpressionParser::Parsed ExpressionParser::filters(ExpressionPtr value) {
  while (true) {
    if (tokens_.take_operator("|")) {
      TRY_ASSIGN(value, filter(std::move(value)));
    } else if (tokens_.take_name("is")) {
      TRY_ASSIGN(value, test(std::move(value)));
    } else if (tokens_.take_operator("(")) {
      TRY_ASSIGN(value, call(std::move(value)));
    } else {
      return value;
    }
  }
}

ExpressionParser::Parsed ExpressionParser::filter(ExpressionPtr value) {
  auto made = make(ExpressionKind::kFilter);
  TRY_ASSIGN(made->name, tokens_.want_identifier());
  if (!is_filter(made->name))
    return tokens_.bad(fmt::format("the filter \"{}\" is not supported", made->name));
  made->operands.push_back(std::move(value));
  if (tokens_.take_operator("(")) TRY(arguments(*made));
  return whole(std::move(made));
}

ExpressionParser::Parsed ExpressionParser::test(ExpressionPtr value) {
  const bool negated = tokens_.take_name("not");
  auto made = make(ExpressionKind::kTest);
  TRY_ASSIGN(made->name, tokens_.want_identifier());
  if (!is_value_test(made->name))
    return tokens_.bad(fmt::format("the test \"{}\" is not supported", made->name));
  made->operands.push_back(std::move(value));
  const TokenKind kind = tokens_.now().kind;
  const bool keyword = tokens_.is_name("else") || tokens_.is_name("or") || tokens_.is_name("and") ||
                       tokens_.is_name("if") || tokens_.is_name("is") || tokens_.is_name("not") ||
                       tokens_.is_name("in");
  if (tokens_.take_operator("(")) {
    TRY(arguments(*made));
  } else if ((kind == TokenKind::kName && !keyword) || kind == TokenKind::kString ||
             kind == TokenKind::kInteger || kind == TokenKind::kFloat || tokens_.is_operator("[") ||
             tokens_.is_operator("{")) {
    TRY_ASSIGN(ExpressionPtr argument, primary());
    TRY_ASSIGN(argument, postfix(std::move(argument)));
    made->operands.push_back(std::move(argument));
  }
  if (!negated) return whole(std::move(made));
  auto negation = make(ExpressionKind::kUnary);
  negation->operation = Operator::kNot;
  TRY_ASSIGN(ExpressionPtr tested, whole(std::move(made)));
  negation->operands.push_back(std::move(tested));
  return whole(std::move(negation));
}

}  // namespace deepserve::runner::jinja
