// Follows one answer along its grammar, token by token, and says which tokens may come next.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ipc/base/result.h"
#include "runner/grammar/grammar.h"
#include "runner/grammar/mask_cache.h"
#include "runner/grammar/unique_keys.h"

namespace deepserve::runner {

// A grammar with a model's vocabulary, shared by all answers that follow it. Not for more than one thread.
class TokenGrammar {
 public:
  // `trie` and `cache` must outlive it.
  TokenGrammar(Grammar grammar, const TokenVocabularyTrie& trie, MaskCache& cache);

  const GrammarAutomaton& automaton() const { return grammar_.automaton(); }
  bool has_free_keys() const { return grammar_.has_free_keys(); }
  const TokenVocabularyTrie& trie() const { return trie_; }
  MaskWalk& walk() { return walk_; }
  Result<std::shared_ptr<const StateMask>> mask_of(StateId state);
  // Memory for the mask of whichever answer asks: holds until the next one does.
  TokenMask& scratch() { return scratch_; }

 private:
  Grammar grammar_;
  const TokenVocabularyTrie& trie_;
  MaskCache& cache_;
  MaskWalk walk_;
  uint32_t id_;
  TokenMask scratch_;
};

// A value: a copy goes on by itself. Replaying an answer's tokens through accept() brings a new one to where
// the answer was left.
class GrammarMatcher {
 public:
  // `grammar` is shared with the other answers that follow it. `ends` are the tokens that end this answer
  // (the model's own, the request's stop tokens): allowed where the grammar is complete, and only there.
  GrammarMatcher(std::shared_ptr<TokenGrammar> grammar, std::vector<TokenId> ends);

  // Which tokens may come next: a bit for each, [(vocabulary + 63) / 64], borrowed until any matcher of the
  // same grammar is asked again. kNotSupported when the grammar turns out to be too ambiguous,
  // kInvalidRequest when no token of the vocabulary can go on.
  Result<std::span<const uint64_t>> allowed();

  // Takes the next token of the answer. False, and nothing is taken, when it may not come here; a token of
  // `ends` may come where the grammar is complete, and stands for no text.
  bool accept(TokenId token);

  // The answer so far is one that the grammar admits.
  bool complete() const { return complete_; }
  // And it admits no longer one that begins with it: the answer is at its end.
  bool finished() const { return complete_ && !goes_on_; }

 private:
  bool is_end(TokenId token) const;
  void settle();
  Result<void> add_exits(const Configuration& from, const StateMask& mask, std::span<uint64_t> allowed);
  Result<std::span<const uint64_t>> checked(std::span<const uint64_t> mask) const;

  std::shared_ptr<TokenGrammar> grammar_;
  std::vector<TokenId> ends_;
  StackPool stacks_;
  std::vector<Configuration> now_;
  std::optional<UniqueKeys> keys_;              // where the grammar has free keys
  std::shared_ptr<const StateMask> looked_at_;  // what allowed() lent out last
  bool complete_ = false;
  bool goes_on_ = true;  // some byte can follow
};

}  // namespace deepserve::runner
