#include "runner/grammar/rule_states.h"

#include "runner/grammar/limits.h"

namespace deepserve::runner {
namespace {

// Beyond so many states rules are called where they are used, and no longer copied.
constexpr size_t kCopiedStatesMax = 20'000;
// Of expressions within expressions: what the thread's stack has room for.
constexpr uint32_t kNestedMax = 5'000;

}  // namespace

RuleStatesBuilder::RuleStatesBuilder(const Expressions& expressions, const RuleAnalysis& analysis)
    : expressions_(expressions), analysis_(analysis), open_(expressions.rules()) {}

Result<const RuleStates*> RuleStatesBuilder::build(RuleId rule) {
  states_.first_edge.clear();
  states_.edges.clear();
  compiled_.clear();
  const uint32_t end = new_state();
  open_[rule] = true;
  states_.start = compile(*expressions_.rule(rule).expression, end);
  open_[rule] = false;
  if (too_large_) {
    return fail(Code::kNotSupported, "the grammar takes more than {} states or is nested more than {} deep",
                kAutomatonStatesMax, kNestedMax);
  }
  return &states_;
}

uint32_t RuleStatesBuilder::new_state() {
  if (++states_total_ > kAutomatonStatesMax) too_large_ = true;
  states_.first_edge.push_back(RuleStates::kNone);
  return static_cast<uint32_t>(states_.first_edge.size() - 1);
}

void RuleStatesBuilder::add_edge(uint32_t from, RuleStates::Edge edge) {
  edge.next = states_.first_edge[from];
  states_.first_edge[from] = static_cast<uint32_t>(states_.edges.size());
  states_.edges.push_back(edge);
  if (states_.edges.size() > kAutomatonEdgesMax) too_large_ = true;
}

// The state from which `id` and then what `next` stands for are read.
uint32_t RuleStatesBuilder::compile(ExpressionId id, uint32_t next) {
  if (too_large_) return next;
  const uint64_t key = uint64_t{id} << 32 | next;
  if (const auto found = compiled_.find(key); found != compiled_.end()) return found->second;
  if (++depth_ > kNestedMax) too_large_ = true;
  const uint32_t state = compile_new(expressions_[id], next);
  --depth_;
  compiled_.emplace(key, state);
  return state;
}

uint32_t RuleStatesBuilder::compile_new(const Expression& expression, uint32_t next) {
  switch (expression.kind) {
    case ExpressionKind::kBytes: {
      const uint32_t state = new_state();
      add_edge(state, {.label = RuleStates::Label::kBytes, .bytes = expression.bytes, .target = next});
      return state;
    }
    case ExpressionKind::kSequence: {
      const auto parts = expressions_.parts(expression);
      for (size_t i = parts.size(); i-- > 0;) next = compile(parts[i], next);
      return next;
    }
    case ExpressionKind::kChoice: {
      const uint32_t state = new_state();
      for (const ExpressionId part : expressions_.parts(expression)) {
        if (analysis_.is_productive(part)) add_edge(state, {.target = compile(part, next)});
      }
      return state;
    }
    case ExpressionKind::kRepeat:
      return compile_repeat(expression, next);
    case ExpressionKind::kRule:
      return compile_rule(expression.parts_begin, next);
  }
  return next;
}

uint32_t RuleStatesBuilder::compile_repeat(const Expression& expression, uint32_t next) {
  const ExpressionId part = expression.parts_begin;
  if (!analysis_.is_productive(part)) return next;  // then it needs no repetition, or nobody comes here
  if (expression.at_most == kUnlimited) {
    const uint32_t loop = new_state();
    add_edge(loop, {.target = next});
    add_edge(loop, {.target = compile(part, loop)});
    next = loop;
  } else {
    const uint32_t after = next;
    for (uint32_t i = expression.at_least; i < expression.at_most && !too_large_; ++i) {
      const uint32_t state = new_state();
      add_edge(state, {.target = after});
      add_edge(state, {.target = compile(part, next)});
      next = state;
    }
  }
  for (uint32_t i = 0; i < expression.at_least && !too_large_; ++i) next = compile(part, next);
  return next;
}

uint32_t RuleStatesBuilder::compile_rule(RuleId rule, uint32_t next) {
  const bool copied = !expressions_.rule(rule).apart && !analysis_.is_recursive(rule) && !open_[rule] &&
                      states_total_ < kCopiedStatesMax;
  if (!copied) {
    const uint32_t state = new_state();
    add_edge(state, {.label = RuleStates::Label::kCall, .rule = rule, .target = next});
    return state;
  }
  open_[rule] = true;
  const uint32_t state = compile(*expressions_.rule(rule).expression, next);
  open_[rule] = false;
  return state;
}

}  // namespace deepserve::runner
