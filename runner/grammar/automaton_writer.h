// Compiles expressions into an automaton: rules become deterministic by the subset construction (Rabin and
// Scott 1959), as far as the work for it is bounded; what is left stays nondeterministic, which costs those
// who follow it more than one state at a time, and is as right.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "ipc/base/result.h"
#include "runner/grammar/automaton.h"
#include "runner/grammar/rule_states.h"

namespace deepserve::runner {

class AutomatonWriter {
 public:
  // Every rule that is referred to must be defined. kInvalidRequest when no text matches `root`,
  // kNotSupported naming a rule that is left-recursive or when it becomes too large.
  static Result<std::shared_ptr<const GrammarAutomaton>> write(const Expressions& expressions, RuleId root);

 private:
  using Subset = std::vector<uint32_t>;  // states of a rule, sorted
  struct SubsetHash {
    size_t operator()(const Subset& subset) const;
  };

  AutomatonWriter(const Expressions& expressions, const RuleAnalysis& analysis)
      : builder_(expressions, analysis), starts_(expressions.rules(), kNoState) {}

  Result<void> write_rule(RuleId rule);
  Result<void> write_states();
  void link();
  StateId state_of(Subset targets);
  void close(Subset& subset);
  void begin_state(const Subset& subset);
  void collect_edges(const Subset& subset);
  void write_edges();
  void write_overlapping_edges();
  void write_edge(ByteRange bytes, StateId target);

  static constexpr StateId kNoState = 0xffffffff;
  struct RawEdge {
    ByteRange bytes;
    uint32_t target;  // a state of the rule
  };
  struct RawCall {
    RuleId rule;
    uint32_t target;
  };

  RuleStatesBuilder builder_;
  std::vector<StateId> starts_;  // [rules] of those that are called
  std::vector<RuleId> called_;   // in the order in which they are to be written
  GrammarAutomaton automaton_;
  std::vector<RuleId> called_rules_;  // [calls of automaton_], until their starts are known
  size_t work_ = 0;

  // Of the rule that is being written:
  const RuleStates* rule_ = nullptr;
  size_t rule_base_ = 0;  // the number of its first state
  std::unordered_map<Subset, StateId, SubsetHash> subsets_;
  std::vector<StateId> of_target_;  // [states of the rule] of the closure of that one alone
  std::vector<Subset> pending_;     // [states written and to be written of the rule]
  std::vector<uint32_t> visited_;   // [states of the rule], the round in which they were closed over
  uint32_t round_ = 0;
  std::vector<RawEdge> raw_edges_;
  std::vector<RawCall> raw_calls_;
};

}  // namespace deepserve::runner
