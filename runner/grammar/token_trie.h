// The texts of a vocabulary as trees of bytes, laid out in the order of a walk, so that whole branches of
// tokens that cannot come next are passed over in one step. Immutable.
//
// Tokens of few plain characters (free_characters.h) have trees apart: where any characters may come they are
// allowed all at once, and only the last tree, of all the others, is walked.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {

class TokenVocabularyTrie {
 public:
  using Node = uint32_t;
  static constexpr Node kNoNode = std::numeric_limits<Node>::max();
  static constexpr TokenId kNoToken = std::numeric_limits<TokenId>::max();

  // Tokens that stand for text and do not end a generation. `vocabulary`: rows of the model's logits, which
  // may be more than the tokeniser has tokens, or fewer. `tokenizer` must outlive the tree.
  TokenVocabularyTrie(const Tokenizer& tokenizer, uint32_t vocabulary);

  struct Tree {
    Node root;
    uint32_t characters_max = 0;   // of its tokens, which are all plain; 0: it is the last tree
    std::vector<uint64_t> tokens;  // [mask_words()], a bit for each of them; empty for the last tree
  };
  std::span<const Tree> trees() const { return trees_; }
  // Of the last tree: all tokens with quotation marks, controls or parts of characters are in it.
  Node last_root() const { return trees_.back().root; }

  size_t nodes() const { return bytes_.size(); }
  uint8_t byte(Node node) const { return bytes_[node]; }
  uint16_t depth(Node node) const { return depths_[node]; }  // bytes from its root
  // A node's branch is [node + 1, end(node)).
  Node end(Node node) const { return ends_[node]; }
  bool has_children(Node node) const { return ends_[node] > node + 1; }
  Node child(Node node, uint8_t byte) const;  // kNoNode: none
  // The tokens whose text ends at `node`: the first, and the next one with the same text.
  TokenId token(Node node) const { return tokens_[node]; }
  TokenId next_token(TokenId token) const { return same_text_.empty() ? kNoToken : same_text_[token]; }

  uint32_t vocabulary() const { return vocabulary_; }
  size_t mask_words() const { return (size_t{vocabulary_} + 63) / 64; }
  std::string_view token_bytes(TokenId token) const { return tokenizer_.token_bytes(token); }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  // Tokens that hold at least two quotation marks: they may be a whole key of a JSON object.
  std::span<const TokenId> tokens_with_quotes() const { return with_quotes_; }

 private:
  struct Entry;
  std::vector<Entry> sorted_entries() const;
  Node add_node(uint8_t byte, size_t depth);
  void add_tree(std::span<const Entry> entries, uint32_t characters_max);

  const Tokenizer& tokenizer_;
  uint32_t vocabulary_;
  std::vector<Tree> trees_;
  // [nodes], depth first, of one parent by rising bytes.
  std::vector<uint8_t> bytes_;
  std::vector<uint16_t> depths_;
  std::vector<Node> ends_;
  std::vector<TokenId> tokens_;
  std::vector<TokenId> same_text_;  // [vocabulary] or empty: no two tokens have one text
  std::vector<TokenId> with_quotes_;
};

}  // namespace deepserve::runner
