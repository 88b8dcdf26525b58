// Finds the tokens that may come next, by walking the vocabulary's tree with an automaton.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ipc/base/result.h"
#include "runner/grammar/configurations.h"
#include "runner/grammar/limits.h"
#include "runner/grammar/token_trie.h"

namespace deepserve::runner {

using TokenMask = std::vector<uint64_t>;  // [trie.mask_words()], a bit for each token

inline void set_token(std::span<uint64_t> mask, TokenId token) {
  mask[token / 64] |= uint64_t{1} << token % 64;
}
inline void clear_token(std::span<uint64_t> mask, TokenId token) {
  mask[token / 64] &= ~(uint64_t{1} << token % 64);
}
inline bool has_token(std::span<const uint64_t> mask, TokenId token) {
  return (mask[token / 64] >> token % 64 & 1) != 0;
}

// What may follow one state, whatever its stack is. Nothing that depends on the stack is in it, so that it
// can be kept for the next time.
struct StateMask {
  // Tokens that begin with an edge of the state and are read through, up to the end of its rule at most.
  TokenMask allowed;
  // Nodes at which the rule has ended: which tokens go on from there depends on who called it.
  std::vector<TokenVocabularyTrie::Node> exits;

  size_t bytes() const { return allowed.size() * sizeof(uint64_t) + exits.size() * sizeof(exits[0]) + 64; }
};

class MaskWalk {
 public:
  // Both must outlive the walk.
  MaskWalk(const GrammarAutomaton& automaton, const TokenVocabularyTrie& trie)
      : automaton_(automaton), trie_(trie) {}

  // One more mask of an answer: all that follows, up to the next one, has kMaskStepsMax steps together.
  void begin_mask() { steps_left_ = kMaskStepsMax; }
  // Takes those of `reader` from them. kNotSupported, here and below, when the grammar is too ambiguous to be
  // followed: beyond kConfigurationsMax, kMaskExitsMax or kMaskStepsMax.
  Result<void> spend(const ConfigurationReader& reader);

  Result<std::shared_ptr<const StateMask>> mask_of(StateId state);
  // Adds the tokens of the branch below `node` that go on from `beginning`, whose stacks are in `stacks`.
  Result<void> add_branch(TokenVocabularyTrie::Node node, std::span<const Configuration> beginning,
                          StackPool& stacks, std::span<uint64_t> mask);

 private:
  using Node = TokenVocabularyTrie::Node;
  struct Level {
    uint32_t begin;  // of the set of configurations after so many bytes, in list_
    uint32_t end;
  };

  Result<void> walk(Node node, StackPool& stacks, std::span<uint64_t> mask, std::vector<Node>* exits);
  Result<void> spend(uint64_t steps);
  // The only way on of a set of one state by `byte`, if its state has no calls and does not end there.
  bool read_plainly(uint8_t byte, Level level);
  void allow_tokens_of(Node node, std::span<uint64_t> mask) const;

  const GrammarAutomaton& automaton_;
  const TokenVocabularyTrie& trie_;
  // Kept from walk to walk for their memory.
  std::vector<Configuration> list_;
  std::vector<Level> levels_;  // [depth]
  uint64_t plain_steps_ = 0;   // of this walk
  uint64_t steps_left_ = kMaskStepsMax;
};

}  // namespace deepserve::runner
