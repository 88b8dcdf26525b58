// The tokeniser that GGUF calls "llama": SentencePiece's BPE (Kudo and Richardson 2018), where the piece with
// the highest score is merged first, of equal ones the leftmost, and characters of no piece become bytes
// <0xNN>.
//
// As in llama.cpp a space goes before the text and before what follows a special token (add_space_prefix).
// Control tokens are never made by merging, so that a user's "</s>" stays text.
#pragma once

#include <array>

#include "runner/model/text_table.h"
#include "runner/model/tokenizer_base.h"

namespace deepserve::runner {

class SentencePiece final : public TokenizerBase {
 public:
  static Result<std::unique_ptr<Tokenizer>> make(Vocabulary vocabulary);

 private:
  SentencePiece(Vocabulary vocabulary, TokenBytes bytes);
  void encode_plain(std::string_view text, bool after_special, std::vector<TokenId>& ids) const override;
  void append_symbol(std::string_view symbol, std::vector<TokenId>& ids) const;

  static constexpr TokenId kNoToken = 0xffffffff;

  TextTable pieces_;                      // bytes of every normal token -> the first id with them
  std::array<TokenId, 256> byte_tokens_;  // kNoToken: there is no <0xNN> for this byte
};

}  // namespace deepserve::runner
