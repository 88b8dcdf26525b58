// What every kind of tokeniser shares: the bytes of each token, special tokens in text, decoding, end
// markers.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "runner/model/tokenizer/added_tokens.h"
#include "runner/model/tokenizer/normalizer.h"
#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {

// The bytes that tokens stand for, in one block.
class TokenBytes {
 public:
  explicit TokenBytes(size_t tokens) { ends_.reserve(tokens); }
  void append(std::string_view bytes);
  size_t size() const { return ends_.size(); }
  std::string_view operator[](TokenId token) const;

 private:
  std::string bytes_;
  std::vector<size_t> ends_;  // of each token's bytes in bytes_
};

// The bytes of a text's first token without the spaces that decoding leaves out there. `bytes` are all of the
// token's, which stands for text.
std::string first_token_bytes(const Vocabulary& vocabulary, TokenId token, std::string_view bytes);

// What an added token that is looked for in normalised text decodes to, as the `tokenizers` library has it:
// its text, normalised. Only where that is another.
std::unordered_map<TokenId, std::string> normalized_added_tokens(const Vocabulary& vocabulary);

class TokenizerBase : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, Specials specials) const override;
  std::vector<TokenId> encode_parts(std::span<const Part> parts) const override;
  std::string_view token_bytes(TokenId token, bool show_control) const override;
  std::string decode(std::span<const TokenId> tokens) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  bool ends_generation(TokenId token) const override;

  // Checks what is common to all kinds, and gives tokens the kind that their text demands where the file is
  // known to be careless: "<|im_end|>" that a file calls user-defined is a control token, "[PAD7]" at 7 is
  // unused.
  static Result<void> check_and_correct(Vocabulary& vocabulary);

 protected:
  TokenizerBase(Vocabulary vocabulary, TokenBytes bytes);

  // Appends the ids of text that holds no special token, and that is normalised: it lies between two of them.
  // `at_start`: nothing precedes it.
  virtual void encode_plain(std::string_view text, bool at_start, std::vector<TokenId>& ids) const = 0;

  // `text` as the vocabulary's PrefixRule has it: itself, or a view of `changed`.
  std::string_view with_prefix(std::string_view text, bool at_start, std::string& changed) const;

  const TokenBytes& bytes() const { return bytes_; }

  // Frees the merges of vocabulary(), once they are in a table.
  void forget_merges();

 private:
  class Run;

  // The tokens that are looked for in text as it came, and those that are looked for when it is normalised.
  struct TokensInText {
    AddedTokens raw;
    AddedTokens normalized;
  };
  void add_to_text(const AddedToken& token, TokenKind kind);

  Vocabulary vocabulary_;
  TokenBytes bytes_;  // [vocabulary]; of control, unknown and unused tokens: their text
  Normalizer normalizer_;
  TokensInText typed_;                 // found in every text
  TokensInText parsed_;                // found in text that is to be parsed
  std::vector<bool> ends_generation_;  // [vocabulary]
};

}  // namespace deepserve::runner
