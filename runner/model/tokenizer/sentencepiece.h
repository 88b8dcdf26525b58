// The tokeniser that GGUF calls "llama": SentencePiece's BPE (Kudo and Richardson 2018), where the piece with
// the highest score is merged first, of equal ones the leftmost, and characters of no piece become bytes
// <0xNN>.
//
// As in llama.cpp a space goes before the text and before what follows a special token (add_space_prefix),
// and U+2581 in a text is read as a space.
// Control tokens are never made by merging, so that a user's "</s>" stays text.
#pragma once

#include <array>

#include "runner/model/tokenizer/text_table.h"
#include "runner/model/tokenizer/tokenizer_base.h"

namespace deepserve::runner {

class SentencePiece final : public TokenizerBase {
 public:
  static Result<std::unique_ptr<Tokenizer>> make(Vocabulary vocabulary);

 private:
  struct Candidate;
  struct Symbols;

  SentencePiece(Vocabulary vocabulary, TokenBytes bytes);
  void encode_plain(std::string_view text, bool at_start, std::vector<TokenId>& ids) const override;
  void merge(std::string_view text, Symbols& symbols, std::vector<TokenId>& ids) const;
  void append_symbol(std::string_view symbol, std::vector<TokenId>& ids) const;

  static constexpr TokenId kNoToken = 0xffffffff;

  TextTable<TokenBytes> pieces_;          // bytes of every normal token -> the first id with them
  std::array<TokenId, 256> byte_tokens_;  // kNoToken: there is no <0xNN> for this byte
  bool pieces_cross_words_ = false;  // a piece holds a space after a word: text must be merged as a whole
};

}  // namespace deepserve::runner
