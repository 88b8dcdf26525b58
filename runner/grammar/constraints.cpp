#include "runner/grammar/constraints.h"

#include "runner/grammar/limits.h"

namespace deepserve::runner {
namespace {

Result<Grammar> parse(const ipc::Constraint& constraint) {
  switch (constraint.kind) {
    case ipc::ConstraintKind::kJsonObject:
      return Grammar::any_json_object();
    case ipc::ConstraintKind::kJsonSchema:
      return Grammar::from_json_schema(constraint.text);
    case ipc::ConstraintKind::kGrammar:
      return Grammar::from_gbnf(constraint.text);
    case ipc::ConstraintKind::kNone:
    case ipc::ConstraintKind::kCount:
      break;
  }
  return fail(Code::kInvalidRequest, "constraint kind {} is unknown", static_cast<int>(constraint.kind));
}

}  // namespace

Result<std::optional<GrammarMatcher>> Constraints::matcher(const ipc::Constraint& constraint,
                                                           std::vector<TokenId> ends) {
  if (constraint.kind == ipc::ConstraintKind::kNone) return std::optional<GrammarMatcher>();
  TRY_ASSIGN(auto grammar, grammar_of(constraint));
  return std::optional<GrammarMatcher>(std::in_place, std::move(grammar), std::move(ends));
}

Result<std::shared_ptr<TokenGrammar>> Constraints::grammar_of(const ipc::Constraint& constraint) {
  if (const auto found = by_constraint_.find(constraint); found != by_constraint_.end()) {
    by_use_.splice(by_use_.begin(), by_use_, found->second);
    return found->second->grammar;
  }
  auto grammar = compile(constraint);
  // What is too long is refused at once, and would take memory without end.
  if (constraint.text.size() > kGrammarBytesMax) return grammar;
  by_use_.push_front({constraint, grammar});
  by_constraint_[constraint] = by_use_.begin();
  if (by_use_.size() > kGrammarsKept) {
    by_constraint_.erase(by_use_.back().constraint);
    by_use_.pop_back();
  }
  return grammar;
}

Result<std::shared_ptr<TokenGrammar>> Constraints::compile(const ipc::Constraint& constraint) {
  TRY_ASSIGN(auto grammar, parse(constraint));
  if (!trie_) trie_ = std::make_unique<TokenVocabularyTrie>(tokenizer_, vocabulary_);
  return std::make_shared<TokenGrammar>(std::move(grammar), *trie_, masks_);
}

}  // namespace deepserve::runner
