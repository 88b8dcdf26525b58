// The constraints of requests, compiled: repeated ones once. Belongs to one engine, and to its thread.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "ipc/wire/messages.h"
#include "runner/grammar/matcher.h"

namespace deepserve::runner {

class Constraints {
 public:
  // `vocabulary`: rows of the model's logits. `tokenizer` must outlive it.
  Constraints(const Tokenizer& tokenizer, uint32_t vocabulary)
      : tokenizer_(tokenizer), vocabulary_(vocabulary) {}

  // None for kNone. Errors as Grammar's. `ends`: see GrammarMatcher. The first one builds the tree of the
  // vocabulary's texts: 30 to 200 ms for 150,000 tokens, by the machine, which a restart should not
  // wait for.
  Result<std::optional<GrammarMatcher>> matcher(const ipc::Constraint& constraint, std::vector<TokenId> ends);

  // How many compiled grammars and refused sources are kept.
  size_t kept() const { return by_use_.size(); }

 private:
  struct Kept {
    ipc::Constraint constraint;
    Result<std::shared_ptr<TokenGrammar>> grammar;  // shared with the answers that follow it; or the refusal
  };
  struct Hash {
    size_t operator()(const ipc::Constraint& constraint) const {
      return std::hash<std::string>()(constraint.text) + static_cast<size_t>(constraint.kind);
    }
  };

  Result<std::shared_ptr<TokenGrammar>> grammar_of(const ipc::Constraint& constraint);
  Result<std::shared_ptr<TokenGrammar>> compile(const ipc::Constraint& constraint);

  const Tokenizer& tokenizer_;
  uint32_t vocabulary_;
  std::unique_ptr<TokenVocabularyTrie> trie_;  // made when it is first needed
  MaskCache masks_;
  std::list<Kept> by_use_;  // the last used first; kGrammarsKept at most
  std::unordered_map<ipc::Constraint, std::list<Kept>::iterator, Hash> by_constraint_;
};

}  // namespace deepserve::runner
