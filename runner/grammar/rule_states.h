// One rule's expression as a nondeterministic machine (Thompson's construction, from the end to the
// beginning, so that what is alike up to the end is built once).
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "ipc/base/result.h"
#include "runner/grammar/expressions.h"
#include "runner/grammar/rule_analysis.h"

namespace deepserve::runner {

// States and edges of one rule. State 0 is its end.
struct RuleStates {
  static constexpr uint32_t kNone = 0xffffffff;
  enum class Label : uint8_t { kNothing, kBytes, kCall };
  struct Edge {
    Label label = Label::kNothing;
    ByteRange bytes{};  // kBytes
    RuleId rule = 0;    // kCall
    uint32_t target = 0;
    uint32_t next = kNone;  // another edge of the same state
  };

  std::vector<uint32_t> first_edge;  // [states]
  std::vector<Edge> edges;
  uint32_t start = 0;
};

// Builds the rules of one grammar, one after the other. Rules that are small enough and not recursive become
// part of those that use them, as long as the states last: a machine without calls is the fastest.
class RuleStatesBuilder {
 public:
  RuleStatesBuilder(const Expressions& expressions, const RuleAnalysis& analysis);

  // kNotSupported when the grammar takes more than kAutomatonStatesMax states or is nested too deeply. What
  // is returned is overwritten by the next call.
  Result<const RuleStates*> build(RuleId rule);

 private:
  uint32_t new_state();
  void add_edge(uint32_t from, RuleStates::Edge edge);
  uint32_t compile(ExpressionId id, uint32_t next);
  uint32_t compile_new(const Expression& expression, uint32_t next);
  uint32_t compile_repeat(const Expression& expression, uint32_t next);
  uint32_t compile_rule(RuleId rule, uint32_t next);

  const Expressions& expressions_;
  const RuleAnalysis& analysis_;
  RuleStates states_;
  std::unordered_map<uint64_t, uint32_t> compiled_;  // (expression, next) -> its first state
  std::vector<bool> open_;                           // [rules] being copied right now
  size_t states_total_ = 0;                          // of all rules
  uint32_t depth_ = 0;
  bool too_large_ = false;
};

}  // namespace deepserve::runner
