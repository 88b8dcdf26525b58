// Byte pair encoding over characters, as Hugging Face's `tokenizers` runs the SentencePiece vocabularies of
// Llama 2 and its like: merges by rank (sentencepiece.h goes by scores), characters of no token become bytes
// <0xNN>.
#pragma once

#include <array>

#include "runner/model/tokenizer/pair_merger.h"
#include "runner/model/tokenizer/pre_tokenizer.h"
#include "runner/model/tokenizer/text_table.h"
#include "runner/model/tokenizer/tokenizer_base.h"

namespace deepserve::runner {

class CharacterBpe final : public TokenizerBase {
 public:
  // Reads split_steps and token_merges: made of a tokenizer.json alone.
  static Result<std::unique_ptr<Tokenizer>> make(Vocabulary vocabulary);

 private:
  CharacterBpe(Vocabulary vocabulary, TokenBytes bytes, PreTokenizer pre_tokenizer);
  bool may_cut_words() const;
  void encode_plain(std::string_view text, bool at_start, std::vector<TokenId>& ids) const override;
  void encode_piece(std::string_view piece, std::vector<TokenId>& symbols, std::vector<TokenId>& ids) const;
  void append_symbols(std::string_view character, std::vector<TokenId>& symbols) const;

  static constexpr TokenId kNoToken = 0xffffffff;

  PreTokenizer pre_tokenizer_;
  TextTable<std::vector<std::string>> texts_;  // the spelling of every token that text may become -> its id
  PairMerger merger_;
  std::array<TokenId, 256> byte_tokens_;  // kNoToken: there is no <0xNN> for this byte
  bool cuts_words_;  // no merge joins a word to the mark after it: words can be merged one by one
};

}  // namespace deepserve::runner
