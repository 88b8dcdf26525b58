// What can be told of a grammar's rules before they are compiled. Linear in the size of the expressions.
#pragma once

#include <optional>
#include <vector>

#include "runner/grammar/expressions.h"

namespace deepserve::runner {

class RuleAnalysis {
 public:
  // Every rule that is referred to must be defined.
  RuleAnalysis(const Expressions& expressions, RuleId root);

  // Some text matches it.
  bool is_productive(ExpressionId id) const { return productive_[id]; }
  // A rule that begins with itself, directly or by others; none can be followed from left to right.
  std::optional<RuleId> left_recursive() const { return left_recursive_; }
  // Rules that must be called: each cycle of rules goes through one of them.
  bool is_recursive(RuleId rule) const { return recursive_[rule]; }

 private:
  enum class Following { kAll, kLeftmost };

  void list_parents();
  std::vector<bool> propagate(bool value_of_bytes) const;
  void children(ExpressionId id, Following following, std::vector<ExpressionId>& out) const;
  template <typename Found>
  void find_cycles(ExpressionId root, Following following, Found found) const;

  const Expressions& expressions_;
  std::vector<uint32_t> parents_begin_;  // [expressions + 1], into parents_
  std::vector<ExpressionId> parents_;
  std::vector<bool> productive_;
  std::vector<bool> nullable_;
  std::vector<bool> recursive_;  // [rules]
  std::optional<RuleId> left_recursive_;
};

}  // namespace deepserve::runner
