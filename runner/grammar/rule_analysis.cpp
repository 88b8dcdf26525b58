#include "runner/grammar/rule_analysis.h"

#include "ipc/base/check.h"

namespace deepserve::runner {

RuleAnalysis::RuleAnalysis(const Expressions& expressions, RuleId root) : expressions_(expressions) {
  recursive_.resize(expressions.rules());
  list_parents();
  productive_ = propagate(true);
  nullable_ = propagate(false);
  const ExpressionId whole = *expressions.rule(root).expression;
  find_cycles(whole, Following::kAll, [this](RuleId rule) { recursive_[rule] = true; });
  // What leads to a left recursion is reached by any way, the recursion itself only leftmost: so every rule
  // is a beginning. The search passes over what it has seen.
  find_cycles(whole, Following::kLeftmost, [this](RuleId rule) { left_recursive_ = rule; });
}

void RuleAnalysis::children(ExpressionId id, Following following, std::vector<ExpressionId>& out) const {
  const Expression& expression = expressions_[id];
  switch (expression.kind) {
    case ExpressionKind::kBytes:
      return;
    case ExpressionKind::kSequence:
      for (const ExpressionId part : expressions_.parts(expression)) {
        out.push_back(part);
        if (following == Following::kLeftmost && !nullable_[part]) return;
      }
      return;
    case ExpressionKind::kChoice:
      for (const ExpressionId part : expressions_.parts(expression)) out.push_back(part);
      return;
    case ExpressionKind::kRepeat:
      out.push_back(expression.parts_begin);
      return;
    case ExpressionKind::kRule:
      CHECK(expressions_.rule(expression.parts_begin).expression);
      out.push_back(*expressions_.rule(expression.parts_begin).expression);
      return;
  }
}

void RuleAnalysis::list_parents() {
  const size_t count = expressions_.nodes();
  parents_begin_.assign(count + 1, 0);
  std::vector<ExpressionId> below;
  for (ExpressionId id = 0; id < count; ++id) {
    below.clear();
    children(id, Following::kAll, below);
    for (const ExpressionId child : below) ++parents_begin_[child + 1];
  }
  for (size_t id = 0; id < count; ++id) parents_begin_[id + 1] += parents_begin_[id];
  parents_.resize(parents_begin_[count]);
  std::vector<uint32_t> next(parents_begin_.begin(), parents_begin_.end() - 1);
  for (ExpressionId id = 0; id < count; ++id) {
    below.clear();
    children(id, Following::kAll, below);
    for (const ExpressionId child : below) parents_[next[child]++] = id;
  }
}

// The least solution of: bytes have `value_of_bytes`, a sequence is true when all its parts are, a choice
// when one is, a repetition when its part is or none is needed, a rule when what it says is.
std::vector<bool> RuleAnalysis::propagate(bool value_of_bytes) const {
  const size_t count = expressions_.nodes();
  std::vector<bool> holds(count);
  std::vector<uint32_t> missing(count, 1);  // children that must hold yet
  std::vector<ExpressionId> news;
  for (ExpressionId id = 0; id < count; ++id) {
    const Expression& expression = expressions_[id];
    bool known = false;
    if (expression.kind == ExpressionKind::kBytes) known = value_of_bytes;
    if (expression.kind == ExpressionKind::kRepeat) known = expression.at_least == 0;
    if (expression.kind == ExpressionKind::kSequence) {
      missing[id] = expression.parts_count;
      known = expression.parts_count == 0;
    }
    if (!known) continue;
    holds[id] = true;
    news.push_back(id);
  }
  while (!news.empty()) {
    const ExpressionId id = news.back();
    news.pop_back();
    for (uint32_t i = parents_begin_[id]; i < parents_begin_[id + 1]; ++i) {
      const ExpressionId parent = parents_[i];
      if (holds[parent] || --missing[parent] > 0) continue;
      holds[parent] = true;
      news.push_back(parent);
    }
  }
  return holds;
}

// Depth first from `root` and, where only the leftmost are followed, from all that it reaches otherwise:
// tells a rule of each way that comes back to where it has been.
template <typename Found>
void RuleAnalysis::find_cycles(ExpressionId root, Following following, Found found) const {
  enum class Mark : uint8_t { kNew, kOpen, kDone };
  struct Open {
    ExpressionId id;
    std::vector<ExpressionId> children;
  };
  std::vector<Mark> marks(expressions_.nodes(), Mark::kNew);
  std::vector<ExpressionId> beginnings = {root};
  std::vector<bool> listed(expressions_.nodes());
  std::vector<Open> path;
  const auto open = [&](ExpressionId id) {
    marks[id] = Mark::kOpen;
    path.push_back({id, {}});
    children(id, following, path.back().children);
  };
  std::vector<ExpressionId> all;
  while (!beginnings.empty()) {
    const ExpressionId beginning = beginnings.back();
    beginnings.pop_back();
    if (following == Following::kLeftmost) {
      all.clear();
      children(beginning, Following::kAll, all);
      for (const ExpressionId child : all) {
        if (listed[child]) continue;
        listed[child] = true;
        beginnings.push_back(child);
      }
    }
    if (marks[beginning] == Mark::kNew) open(beginning);
    while (!path.empty()) {
      if (path.back().children.empty()) {
        marks[path.back().id] = Mark::kDone;
        path.pop_back();
        continue;
      }
      const ExpressionId child = path.back().children.back();
      path.back().children.pop_back();
      if (marks[child] == Mark::kNew) {
        open(child);
        continue;
      }
      if (marks[child] != Mark::kOpen) continue;
      for (size_t i = path.size(); i-- > 0;) {  // a rule with a name is in every cycle
        const Expression& step = expressions_[path[i].id];
        if (step.kind != ExpressionKind::kRule || expressions_.rule(step.parts_begin).name.empty()) continue;
        found(step.parts_begin);
        break;
      }
    }
  }
}

}  // namespace deepserve::runner
