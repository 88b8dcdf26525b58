// A chat template after parsing: statements and expressions, each with the line where it began.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runner/model/chat/jinja/value.h"

namespace deepserve::runner::jinja {

enum class Operator : uint8_t {
  kNone,
  kOr,
  kAnd,
  kNot,
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kIn,
  kNotIn,
  kAdd,
  kSubtract,
  kConcatenate,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kNegate,
};

enum class ExpressionKind : uint8_t {
  kLiteral,      // literal
  kName,         // name
  kList,         // operands: the items
  kTuple,        // likewise
  kDict,         // operands: key, value, key, value, ...
  kUnary,        // operation, operands[0]
  kBinary,       // operation, operands[0], operands[1]
  kComparison,   // operands[0] operations[0] operands[1] operations[1] operands[2] ...
  kConditional,  // operands: then, condition, else (may be missing)
  kAttribute,    // operands[0].name
  kItem,         // operands[0][operands[1]]
  kSlice,        // operands[0][operands[1]:operands[2]:operands[3]], null where nothing stands
  kCall,         // operands[0](operands[1...], named)
  kFilter,       // operands[0] | name(operands[1...], named)
  kTest,         // operands[0] is name(operands[1...])
};

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Expression {
  ExpressionKind kind = ExpressionKind::kLiteral;
  Operator operation = Operator::kNone;
  uint32_t line = 0;
  uint32_t depth = 1;  // of the tree that it is the root of
  std::string name;
  Value literal;
  std::vector<Operator> operations;
  std::vector<ExpressionPtr> operands;
  std::vector<std::pair<std::string, ExpressionPtr>> named;  // named arguments
};

enum class StatementKind : uint8_t {
  kText,      // text
  kOutput,    // value
  kIf,        // value, body, otherwise
  kFor,       // targets, value, condition (may be null), body, otherwise
  kSet,       // targets, value; of a namespace: targets = {name, attribute} with is_attribute
  kSetBlock,  // targets[0], body
  kMacro,     // macro
  kBreak,
  kContinue,
  kScope,  // body: {% generation %}, which marks a part for training and prints it
};

struct Statement;
using Block = std::vector<Statement>;

// {% macro name(a, b=1) %}; the place where it was defined decides which variables it sees.
struct MacroDefinition {
  std::string name;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // with defaults, null where there is none
  Block body;
};

struct Statement {
  StatementKind kind = StatementKind::kText;
  bool is_attribute = false;
  uint32_t line = 0;
  MarkedText text;
  std::vector<std::string> targets;
  ExpressionPtr value;
  ExpressionPtr condition;
  Block body;
  Block otherwise;
  std::unique_ptr<const MacroDefinition> macro;
};

}  // namespace deepserve::runner::jinja
