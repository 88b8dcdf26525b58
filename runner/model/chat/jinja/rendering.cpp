#include "runner/model/chat/jinja/rendering.h"

#include <algorithm>

#include "runner/model/chat/jinja/filters.h"
#include "runner/model/chat/jinja/operators.h"
#include "runner/model/chat/jinja/value_tests.h"

namespace deepserve::runner::jinja {
namespace {

// A rendering stands between two steps of the model: what a conversation may take goes with its size.
// Published templates take some tens of steps for a message, which is three values or more.
constexpr uint64_t kStepsBase = 100'000;
constexpr uint64_t kStepsPerValue = 64;
constexpr uint64_t kStepsMax = 4'000'000;
constexpr uint64_t kBytesBase = uint64_t{64} << 20;
constexpr uint64_t kBytesPerByte = 32;
constexpr uint64_t kBytesMax = uint64_t{256} << 20;
constexpr size_t kNamesPerStep = 16;  // that are compared
constexpr size_t kKeptMax = 10'000;   // macros, namespaces and loops that are kept to the end
constexpr uint32_t kCallsMax = 8;     // of macros in each other
constexpr int64_t kRangeMax = 100'000;

Error with_line(Error error, uint32_t line) {
  if (!error.message.starts_with("line ")) error.message = fmt::format("line {}: {}", line, error.message);
  return error;
}

Result<Value> make_range(const Arguments& arguments, Budget& budget) {
  std::vector<int64_t> bounds;
  for (const Value& value : arguments.positional) {
    if (value.if_integer() == nullptr)
      return fail(Code::kInvalidRequest, "range() of a {}", value.type_name());
    bounds.push_back(*value.if_integer());
  }
  if (bounds.empty() || bounds.size() > 3)
    return fail(Code::kInvalidRequest, "range() of one to three numbers");
  const int64_t begin = bounds.size() == 1 ? 0 : bounds[0];
  const int64_t end = bounds.size() == 1 ? bounds[0] : bounds[1];
  const int64_t step = bounds.size() == 3 ? bounds[2] : 1;
  const auto is_large = [](int64_t bound) { return bound > INT32_MAX || bound < -INT32_MAX; };
  if (step == 0 || is_large(begin) || is_large(end) || is_large(step) || (end - begin) / step > kRangeMax)
    return fail(Code::kInvalidRequest, "range() of more than {} numbers", kRangeMax);
  std::vector<Value> items;
  for (int64_t at = begin; step > 0 ? at < end : at > end; at += step) items.emplace_back(at);
  return list_value(std::move(items), budget);
}

// Of what a template says when it gives up, only its own words: the rest is the conversation's.
std::string own_words(const MarkedText& text) {
  std::string words;
  size_t begin = 0;
  for (const MarkedText::Run& run : text.runs()) {
    words += run.author == Author::kTemplate ? text.bytes().substr(begin, run.end - begin) : "...";
    begin = run.end;
  }
  return words;
}

Budget budget_for(const Variables& variables) {
  uint64_t values = 0, bytes = 0;
  for (const auto& [name, value] : variables) {
    values += value.extent().values;
    bytes += value.extent().bytes;
  }
  return Budget(std::min(kStepsMax, kStepsBase + kStepsPerValue * values),
                std::min(kBytesMax, kBytesBase + kBytesPerByte * bytes));
}

// Those that give a part of what is there, or its size, without looking at the rest.
bool is_cheap(const Expression& expression) {
  if (expression.kind == ExpressionKind::kTest) return true;  // comparisons charge themselves
  for (const std::string_view name : {"length", "count", "first", "last", "default", "d"}) {
    if (expression.name == name) return true;
  }
  return false;
}

// What a namespace may refer to when it gets `value`.
bool is_borrower(const Value& value) {
  return value.extent().borrows;
}

}  // namespace

size_t Scope::names() const {
  size_t count = 0;
  for (const Scope* scope = this; scope != nullptr; scope = scope->outer) count += scope->variables.size();
  return count;
}

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->outer) {
    for (const auto& [known, value] : scope->variables) {
      if (known == name) return &value;
    }
  }
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  for (auto& [known, old] : variables) {
    if (known != name) continue;
    old = std::move(value);
    return;
  }
  variables.emplace_back(name, std::move(value));
}

Rendering::Rendering(const Variables& variables) : budget_(budget_for(variables)) {
  Scope& scope = scopes_.emplace_back();
  for (const auto& [name, value] : variables) scope.set(name, value);
}

Result<MarkedText> Rendering::run(const Block& body) {
  MarkedText out;
  TRY(execute(body, scopes_.front(), out));
  return out;
}

Result<void> Rendering::charge(const Value& value) {
  if (const MarkedText* text = value.if_text()) TRY(budget_.take_bytes(text->memory_bytes()));
  return budget_.take_steps(1 + value.extent().values / 8);
}

// What a method or filter may look for in a text is its first argument.
Result<void> Rendering::charge_search(const Value& value, std::string_view name, const Arguments& arguments) {
  if (value.if_text() == nullptr || name == "join") return {};
  uint64_t bytes = arguments.positional.empty() ? 0 : arguments.positional[0].extent().bytes;
  for (const auto& [named, argument] : arguments.named) bytes = std::max(bytes, argument.extent().bytes);
  return budget_.take_search(value.if_text()->size(), bytes);
}

Result<Rendering::Flow> Rendering::execute(const Block& block, Scope& scope, MarkedText& out) {
  for (const Statement& statement : block) {
    TRY(budget_.take_steps(1));
    auto flow = execute(statement, scope, out);
    if (!flow) return tl::unexpected(with_line(std::move(flow.error()), statement.line));
    if (*flow != Flow::kNext) return *flow;
  }
  return Flow::kNext;
}

Result<Rendering::Flow> Rendering::execute(const Statement& statement, Scope& scope, MarkedText& out) {
  switch (statement.kind) {
    case StatementKind::kText:
      TRY(budget_.take_bytes(statement.text.memory_bytes()));
      out.append(statement.text);
      break;
    case StatementKind::kOutput:
      TRY(output(statement, scope, out));
      break;
    case StatementKind::kIf: {
      TRY_ASSIGN(const Value condition, evaluate(*statement.value, scope));
      return execute(condition.truth() ? statement.body : statement.otherwise, scope, out);
    }
    case StatementKind::kFor:
      return loop(statement, scope, out);
    case StatementKind::kSet:
      TRY(assign(statement, scope));
      break;
    case StatementKind::kSetBlock: {
      MarkedText text;
      TRY(execute_inside(statement.body, scope, text));
      scope.set(statement.targets[0], Value(std::move(text)));
      break;
    }
    case StatementKind::kMacro:
      if (macros_.size() == kKeptMax) return fail(Code::kInvalidRequest, "more than {} macros", kKeptMax);
      scope.set(
          statement.macro->name,
          Value(static_cast<const Macro*>(&macros_.emplace_back(Macro{statement.macro.get(), &scope}))));
      break;
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
    case StatementKind::kScope:
      return execute_inside(statement.body, scope, out);
  }
  return Flow::kNext;
}

Result<Rendering::Flow> Rendering::execute_inside(const Block& block, Scope& outer, MarkedText& out) {
  const Kept before = kept();
  Scope& scope = scopes_.emplace_back(Scope{&outer, {}});
  TRY_ASSIGN(const Flow flow, execute(block, scope, out));
  leave(scope, before);
  return flow;
}

// A scope that no macro has seen is gone when it ends, and its memory with it.
void Rendering::leave(const Scope& scope, Kept before) {
  if (macros_.size() == before.macros && &scopes_.back() == &scope) scopes_.pop_back();
}

// Likewise a loop that no namespace and no macro's scope may still know.
void Rendering::leave(Loop& loop, Kept before) {
  if (macros_.size() == before.macros && borrowers_ == before.borrowers && &loops_.back() == &loop) {
    loops_.pop_back();
  } else {
    loop = Loop();
  }
}

Result<void> Rendering::output(const Statement& statement, Scope& scope, MarkedText& out) {
  TRY_ASSIGN(const Value value, evaluate(*statement.value, scope));
  TRY(charge(value));
  TRY_ASSIGN(const MarkedText text, to_text(value, budget_));
  out.append(text);
  return {};
}

Result<void> Rendering::assign(const Statement& statement, Scope& scope) {
  TRY_ASSIGN(Value value, evaluate(*statement.value, scope));
  if (!statement.is_attribute) return bind(statement.targets, std::move(value), scope);
  TRY_ASSIGN(const Value named, variable(statement.targets[0], scope));
  Namespace* space = named.if_namespace();
  if (space == nullptr) return fail(Code::kInvalidRequest, "{} is no namespace", statement.targets[0]);
  return keep(*space, statement.targets[1], std::move(value));
}

Result<void> Rendering::keep(Namespace& space, std::string_view name, Value value) {
  if (is_borrower(value)) ++borrowers_;
  TRY(budget_.take_bytes(name.size()));
  space.variables.insert_or_assign(std::string(name), std::move(value));
  return {};
}

Result<void> Rendering::bind(const std::vector<std::string>& targets, Value value, Scope& scope) {
  TRY(budget_.take_steps(targets.size() * scope.variables.size() / kNamesPerStep));
  if (targets.size() == 1) {
    scope.set(targets[0], std::move(value));
    return {};
  }
  TRY_ASSIGN(std::vector<Value> items, items_of(value, budget_));
  if (items.size() != targets.size())
    return fail(Code::kInvalidRequest, "{} values for {} names", items.size(), targets.size());
  for (size_t i = 0; i < targets.size(); ++i) scope.set(targets[i], std::move(items[i]));
  return {};
}

Result<Rendering::Flow> Rendering::loop(const Statement& statement, Scope& scope, MarkedText& out) {
  TRY_ASSIGN(const Value value, evaluate(*statement.value, scope));
  TRY_ASSIGN(std::vector<Value> items, items_of(value, budget_));
  TRY(budget_.take_steps(items.size()));
  if (loops_.size() == kKeptMax) return fail(Code::kInvalidRequest, "more than {} loops", kKeptMax);
  const Kept before = kept();
  Loop& loop = loops_.emplace_back();
  for (Value& item : items) {
    if (statement.condition != nullptr) {
      Scope tried{&scope, {}};
      TRY(bind(statement.targets, item, tried));
      TRY_ASSIGN(const Value wanted, evaluate(*statement.condition, tried));
      if (!wanted.truth()) continue;
    }
    loop.items.push_back(std::move(item));
  }
  if (loop.items.empty()) {
    leave(loop, before);
    return execute(statement.otherwise, scope, out);
  }
  TRY_ASSIGN(const Flow flow, run_loop(statement, loop, scope, out));
  leave(loop, before);
  return flow;
}

Result<Rendering::Flow> Rendering::run_loop(const Statement& statement, Loop& loop, Scope& scope,
                                            MarkedText& out) {
  for (; loop.at < loop.items.size(); ++loop.at) {
    const Kept before = kept();
    Scope& turn = scopes_.emplace_back(Scope{&scope, {}});
    TRY(bind(statement.targets, loop.items[loop.at], turn));
    turn.set("loop", Value(static_cast<const Loop*>(&loop)));
    TRY_ASSIGN(const Flow flow, execute(statement.body, turn, out));
    leave(turn, before);
    if (flow == Flow::kBreak) break;
  }
  return Flow::kNext;
}

Result<Value> Rendering::variable(std::string_view name, const Scope& scope) {
  TRY(budget_.take_steps(scope.names() / kNamesPerStep));
  if (const Value* value = scope.find(name)) return *value;
  if (name == "namespace") return Value(Function::kNamespace);
  if (name == "raise_exception") return Value(Function::kRaiseException);
  if (name == "range") return Value(Function::kRange);
  if (name == "dict") return Value(Function::kDict);
  return Value();
}

Result<Value> Rendering::evaluate(const Expression& expression, Scope& scope) {
  TRY(budget_.take_steps(1));
  auto value = evaluate_unchecked(expression, scope);
  if (!value) return tl::unexpected(with_line(std::move(value.error()), expression.line));
  return value;
}

Result<Value> Rendering::evaluate_unchecked(const Expression& expression, Scope& scope) {
  const auto operand = [&](size_t index) { return evaluate(*expression.operands[index], scope); };
  switch (expression.kind) {
    case ExpressionKind::kLiteral:
      return expression.literal;
    case ExpressionKind::kName:
      return variable(expression.name, scope);
    case ExpressionKind::kList:
    case ExpressionKind::kTuple:
      return evaluate_list(expression, scope);
    case ExpressionKind::kDict:
      return evaluate_dict(expression, scope);
    case ExpressionKind::kUnary:
      return evaluate_unary(expression, scope);
    case ExpressionKind::kBinary:
      return evaluate_binary(expression, scope);
    case ExpressionKind::kComparison:
      return evaluate_comparison(expression, scope);
    case ExpressionKind::kConditional:
      return evaluate_conditional(expression, scope);
    case ExpressionKind::kAttribute: {
      TRY_ASSIGN(const Value value, operand(0));
      return attribute_of(value, expression.name);
    }
    case ExpressionKind::kItem: {
      TRY_ASSIGN(const Value value, operand(0));
      TRY_ASSIGN(const Value key, operand(1));
      if (value.if_text() != nullptr) TRY(charge(value));
      return item_of(value, key);
    }
    case ExpressionKind::kSlice: {
      TRY_ASSIGN(const Value value, operand(0));
      TRY(charge(value));
      TRY_ASSIGN(const Value begin, evaluate_optional(expression.operands[1], scope));
      TRY_ASSIGN(const Value end, evaluate_optional(expression.operands[2], scope));
      TRY_ASSIGN(const Value step, evaluate_optional(expression.operands[3], scope));
      return slice_of(value, begin, end, step, budget_);
    }
    case ExpressionKind::kCall:
      return evaluate_call(expression, scope);
    case ExpressionKind::kFilter:
    case ExpressionKind::kTest:
      break;
  }
  TRY_ASSIGN(const Value value, operand(0));
  TRY_ASSIGN(const Arguments arguments, arguments_of(expression, scope));
  TRY(is_cheap(expression) ? budget_.take_steps(1) : charge(value));
  if (expression.kind == ExpressionKind::kFilter) {
    TRY(charge_search(value, expression.name, arguments));
    return run_filter(value, expression.name, arguments, budget_);
  }
  TRY_ASSIGN(const bool passes, run_value_test(value, expression.name, arguments, budget_));
  return Value(passes);
}

Result<Value> Rendering::evaluate_optional(const ExpressionPtr& expression, Scope& scope) {
  if (expression == nullptr) return Value();
  return evaluate(*expression, scope);
}

Result<Value> Rendering::evaluate_list(const Expression& expression, Scope& scope) {
  std::vector<Value> items;
  for (const ExpressionPtr& operand : expression.operands) {
    TRY_ASSIGN(Value item, evaluate(*operand, scope));
    items.push_back(std::move(item));
  }
  return expression.kind == ExpressionKind::kTuple ? tuple_value(std::move(items), budget_)
                                                   : list_value(std::move(items), budget_);
}

Result<Value> Rendering::evaluate_dict(const Expression& expression, Scope& scope) {
  std::vector<Dict::Entry> entries;
  for (size_t i = 0; i < expression.operands.size(); i += 2) {
    TRY_ASSIGN(const Value key, evaluate(*expression.operands[i], scope));
    TRY_ASSIGN(Value item, evaluate(*expression.operands[i + 1], scope));
    if (key.if_text() == nullptr)
      return fail(Code::kNotSupported, "a {} as a key is not supported", key.type_name());
    TRY(budget_.take_bytes(key.if_text()->memory_bytes() + kPartBytes));
    entries.emplace_back(*key.if_text(), std::move(item));
  }
  TRY_ASSIGN(auto dict, Dict::make(std::move(entries)));
  return Value(std::move(dict));
}

Result<Value> Rendering::evaluate_unary(const Expression& expression, Scope& scope) {
  TRY_ASSIGN(const Value value, evaluate(*expression.operands[0], scope));
  if (expression.operation == Operator::kNot) return Value(!value.truth());
  return with_sign(expression.operation, value);
}

Result<Value> Rendering::evaluate_binary(const Expression& expression, Scope& scope) {
  TRY_ASSIGN(Value left, evaluate(*expression.operands[0], scope));
  if (expression.operation == Operator::kAnd && !left.truth()) return left;
  if (expression.operation == Operator::kOr && left.truth()) return left;
  TRY_ASSIGN(Value right, evaluate(*expression.operands[1], scope));
  if (expression.operation == Operator::kAnd || expression.operation == Operator::kOr) return right;
  TRY(charge(left));
  TRY(charge(right));
  return combine(expression.operation, left, right, budget_);
}

Result<Value> Rendering::evaluate_comparison(const Expression& expression, Scope& scope) {
  TRY_ASSIGN(Value left, evaluate(*expression.operands[0], scope));
  for (size_t i = 0; i < expression.operations.size(); ++i) {
    TRY_ASSIGN(Value right, evaluate(*expression.operands[i + 1], scope));
    TRY(charge_comparison(left, right, budget_));
    TRY_ASSIGN(const bool holds, compare(expression.operations[i], left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Rendering::evaluate_conditional(const Expression& expression, Scope& scope) {
  TRY_ASSIGN(const Value condition, evaluate(*expression.operands[1], scope));
  if (condition.truth()) return evaluate(*expression.operands[0], scope);
  if (expression.operands.size() < 3) return Value();
  return evaluate(*expression.operands[2], scope);
}

Result<Arguments> Rendering::arguments_of(const Expression& call, Scope& scope) {
  Arguments arguments;
  for (size_t i = 1; i < call.operands.size(); ++i) {
    TRY_ASSIGN(arguments.positional.emplace_back(), evaluate(*call.operands[i], scope));
  }
  for (const auto& [name, value] : call.named) {
    TRY_ASSIGN(Value given, evaluate(*value, scope));
    arguments.named.emplace_back(name, std::move(given));
  }
  return arguments;
}

Result<Value> Rendering::evaluate_call(const Expression& expression, Scope& scope) {
  const Expression& callee = *expression.operands[0];
  TRY_ASSIGN(const Arguments arguments, arguments_of(expression, scope));
  Value called;
  if (callee.kind == ExpressionKind::kAttribute) {
    TRY_ASSIGN(const Value value, evaluate(*callee.operands[0], scope));
    if (value.if_text() != nullptr || has_method(value, callee.name)) {
      TRY(charge(value));
      TRY(charge_search(value, callee.name, arguments));
      return call_method(value, callee.name, arguments, budget_);
    }
    TRY_ASSIGN(called, attribute_of(value, callee.name));
    if (called.is_undefined()) return call_method(value, callee.name, arguments, budget_);
  } else {
    TRY_ASSIGN(called, evaluate(callee, scope));
  }
  if (const Macro* macro = called.if_macro()) return call_macro(*macro, arguments);
  if (const Function* function = called.if_function()) return call_function(*function, arguments);
  return fail(Code::kNotSupported, "\"{}\", which it calls, is not supported", callee.name);
}

Result<Value> Rendering::make_namespace(const Arguments& arguments) {
  if (namespaces_.size() == kKeptMax) return fail(Code::kInvalidRequest, "more than {} namespaces", kKeptMax);
  Namespace& space = namespaces_.emplace_back();
  for (const Value& value : arguments.positional) {
    if (value.if_dict() == nullptr) return fail(Code::kInvalidRequest, "namespace() of no dictionary");
    for (const auto& [key, item] : value.if_dict()->entries()) TRY(keep(space, key.bytes(), item));
  }
  for (const auto& [name, value] : arguments.named) TRY(keep(space, name, value));
  return Value(&space);
}

Result<Value> Rendering::call_function(Function function, const Arguments& arguments) {
  switch (function) {
    case Function::kNamespace:
      return make_namespace(arguments);
    case Function::kRange: {
      TRY_ASSIGN(Value range, make_range(arguments, budget_));
      TRY(charge(range));
      return range;
    }
    case Function::kDict: {
      std::vector<Dict::Entry> entries;
      TRY(budget_.take_bytes(arguments.named.size() * kPartBytes));
      for (const auto& [name, value] : arguments.named)
        entries.emplace_back(MarkedText(name, Author::kTemplate), value);
      TRY_ASSIGN(auto dict, Dict::make(std::move(entries)));
      return Value(std::move(dict));
    }
    case Function::kRaiseException: {
      MarkedText text;
      if (!arguments.positional.empty()) {
        TRY_ASSIGN(text, to_text(arguments.positional[0], budget_));
      }
      return fail(Code::kInvalidRequest, "the model does not take this conversation: {}",
                  own_words(text).substr(0, 200));
    }
    case Function::kMethod:
      break;
  }
  return fail(Code::kNotSupported, "a method that is not called where it is named is not supported");
}

Result<Value> Rendering::call_macro(const Macro& macro, const Arguments& arguments) {
  const MacroDefinition& definition = *macro.definition;
  if (++calls_ > kCallsMax) return fail(Code::kInvalidRequest, "macros call each other too deeply");
  if (arguments.positional.size() > definition.parameters.size())
    return fail(Code::kInvalidRequest, "too many arguments for {}", definition.name);
  const Kept before = kept();
  Scope& scope = scopes_.emplace_back(Scope{macro.scope, {}});
  for (size_t i = 0; i < definition.parameters.size(); ++i) {
    const auto& [name, otherwise] = definition.parameters[i];
    const Value* given = arguments.find(i, name);
    Value value;
    if (given != nullptr) {
      value = *given;
    } else if (otherwise != nullptr) {
      TRY_ASSIGN(value, evaluate(*otherwise, scope));
    }
    scope.set(name, std::move(value));
  }
  MarkedText text;
  TRY(execute(definition.body, scope, text));
  leave(scope, before);
  --calls_;
  return Value(std::move(text));
}

Result<Template> Template::parse(std::string_view source) {
  TRY_ASSIGN(ParsedTemplate parsed, parse_template(source));
  return Template(std::move(parsed));
}

Result<MarkedText> Template::render(const Variables& variables) const {
  return Rendering(variables).run(parsed_->body);
}

}  // namespace deepserve::runner::jinja
