// One run of a template: its variables, and how far it has come.
#pragma once

#include <deque>
#include <string_view>

#include "ipc/base/result.h"
#include "runner/model/chat/jinja/arguments.h"
#include "runner/model/chat/jinja/attributes.h"
#include "runner/model/chat/jinja/budget.h"
#include "runner/model/chat/jinja/syntax_tree.h"
#include "runner/model/chat/jinja/template.h"

namespace deepserve::runner::jinja {

// Variables of the template, of one turn of a loop, or of one call of a macro. Names are borrowed.
struct Scope {
  Scope* outer = nullptr;
  std::vector<std::pair<std::string_view, Value>> variables;

  const Value* find(std::string_view name) const;  // here and outside
  size_t names() const;                            // that find() may look at
  void set(std::string_view name, Value value);    // here
};

struct Macro {
  const MacroDefinition* definition = nullptr;
  Scope* scope = nullptr;
};

class Rendering {
 public:
  // Borrowed.
  explicit Rendering(const Variables& variables);

  Result<MarkedText> run(const Block& body);

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue };

  Result<Flow> execute(const Block& block, Scope& scope, MarkedText& out);
  Result<Flow> execute(const Statement& statement, Scope& scope, MarkedText& out);
  Result<Flow> execute_inside(const Block& block, Scope& outer, MarkedText& out);
  // What could have been kept for later, before a scope or a loop was entered.
  struct Kept {
    size_t macros;
    size_t borrowers;
  };
  Kept kept() const { return {macros_.size(), borrowers_}; }
  void leave(const Scope& scope, Kept before);
  void leave(Loop& loop, Kept before);
  Result<Flow> run_loop(const Statement& statement, Loop& loop, Scope& scope, MarkedText& out);
  Result<void> keep(Namespace& space, std::string_view name, Value value);
  Result<void> output(const Statement& statement, Scope& scope, MarkedText& out);
  Result<void> assign(const Statement& statement, Scope& scope);
  Result<void> bind(const std::vector<std::string>& targets, Value value, Scope& scope);
  Result<Flow> loop(const Statement& statement, Scope& scope, MarkedText& out);

  Result<Value> evaluate(const Expression& expression, Scope& scope);
  Result<Value> evaluate_unchecked(const Expression& expression, Scope& scope);
  Result<Value> evaluate_optional(const ExpressionPtr& expression, Scope& scope);
  Result<Value> evaluate_list(const Expression& expression, Scope& scope);
  Result<Value> evaluate_dict(const Expression& expression, Scope& scope);
  Result<Value> evaluate_unary(const Expression& expression, Scope& scope);
  Result<Value> evaluate_binary(const Expression& expression, Scope& scope);
  Result<Value> evaluate_comparison(const Expression& expression, Scope& scope);
  Result<Value> evaluate_conditional(const Expression& expression, Scope& scope);
  Result<Value> evaluate_call(const Expression& expression, Scope& scope);
  Result<Value> call_function(Function function, const Arguments& arguments);
  Result<Value> call_macro(const Macro& macro, const Arguments& arguments);
  Result<Value> make_namespace(const Arguments& arguments);
  Result<Arguments> arguments_of(const Expression& call, Scope& scope);
  Result<Value> variable(std::string_view name, const Scope& scope);

  Result<void> charge(const Value& value);
  Result<void> charge_search(const Value& value, std::string_view name, const Arguments& arguments);

  // What values borrow lives as long as the rendering: namespaces and macros may refer to each other.
  std::deque<Scope> scopes_;
  std::deque<Namespace> namespaces_;
  std::deque<Loop> loops_;
  std::deque<Macro> macros_;
  size_t borrowers_ = 0;  // values in namespaces that refer to what is above
  Budget budget_;
  uint32_t calls_ = 0;
};

}  // namespace deepserve::runner::jinja
