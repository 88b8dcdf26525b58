// What a grammar says before it is compiled: expressions over bytes, which the parsers of GBNF, of schemas
// and of patterns build from the inside out. An expression never changes and may be part of many others.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runner/grammar/code_points.h"

namespace deepserve::runner {

using ExpressionId = uint32_t;
using RuleId = uint32_t;

enum class ExpressionKind : uint8_t {
  kBytes,     // one byte out of `bytes`
  kSequence,  // all of the parts, in order; of none: the empty text
  kChoice,    // one of the parts; of none: nothing at all, which no text matches
  kRepeat,    // the part, at_least to at_most times
  kRule,      // what the rule says
};

inline constexpr uint32_t kUnlimited = 0xffffffff;

struct Expression {
  ExpressionKind kind = ExpressionKind::kSequence;
  ByteRange bytes{};         // kBytes
  uint32_t parts_begin = 0;  // kSequence, kChoice: into the pool's parts; kRepeat: the part; kRule: the rule
  uint32_t parts_count = 0;  // kSequence, kChoice
  uint32_t at_least = 0;     // kRepeat
  uint32_t at_most = 0;      // kRepeat; kUnlimited
  uint32_t states = 0;       // about so many it takes; rules that are not defined yet count as one; saturates
};

struct Rule {
  std::string name;
  std::optional<ExpressionId> expression;  // none: not defined yet
  bool apart = false;                      // never compiled into the rules that use it
};

class Expressions {
 public:
  Expressions();

  ExpressionId empty() const { return empty_; }
  ExpressionId nothing() const { return nothing_; }
  ExpressionId byte_range(uint8_t first, uint8_t last);
  ExpressionId literal(std::string_view bytes);
  // One character of the set, as UTF-8.
  ExpressionId characters(const CodePointSet& set);
  ExpressionId sequence(std::span<const ExpressionId> parts);
  ExpressionId sequence(std::initializer_list<ExpressionId> parts);
  ExpressionId choice(std::span<const ExpressionId> parts);
  ExpressionId choice(std::initializer_list<ExpressionId> parts);
  // at_most is at least at_least; callers bound both by kRepetitionMax. What would be copied too often
  // becomes a rule of its own.
  ExpressionId repeat(ExpressionId part, uint32_t at_least, uint32_t at_most);
  ExpressionId optional(ExpressionId part) { return repeat(part, 0, 1); }

  RuleId new_rule(std::string name, bool apart = false);
  void define(RuleId rule, ExpressionId expression) { rules_[rule].expression = expression; }
  ExpressionId reference(RuleId rule);

  const Expression& operator[](ExpressionId id) const { return nodes_[id]; }
  std::span<const ExpressionId> parts(const Expression& expression) const {
    return std::span(parts_).subspan(expression.parts_begin, expression.parts_count);
  }
  const Rule& rule(RuleId id) const { return rules_[id]; }
  size_t rules() const { return rules_.size(); }
  size_t nodes() const { return nodes_.size(); }
  // Nodes and parts: what building costs. Builders stop beyond kExpressionsMax.
  size_t size() const { return nodes_.size() + parts_.size(); }

 private:
  ExpressionId add(Expression expression);
  ExpressionId list(ExpressionKind kind, std::span<const ExpressionId> parts);
  ExpressionId plain_repeat(ExpressionId part, uint32_t at_least, uint32_t at_most);
  ExpressionId chunked_repeat(ExpressionId part, uint32_t at_least, uint32_t at_most);

  std::vector<Expression> nodes_;
  std::vector<ExpressionId> parts_;
  std::vector<Rule> rules_;
  std::unordered_map<uint32_t, ExpressionId> byte_ranges_;  // one expression for each range
  std::unordered_map<RuleId, ExpressionId> references_;     // and for each rule that is defined
  std::unordered_map<ExpressionId, RuleId> chunks_;         // what they are many of
  ExpressionId empty_;
  ExpressionId nothing_;
};

}  // namespace deepserve::runner
