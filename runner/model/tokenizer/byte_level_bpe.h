// Byte-level byte pair encoding as GPT-2 introduced it (Radford et al. 2019) and Hugging Face's `tokenizers`
// runs it: text is cut into pieces by the pre-tokeniser, a piece's bytes are merged pairwise, always the pair
// of the lowest rank, of equal ones the leftmost.
#pragma once

#include <array>
#include <atomic>

#include "runner/model/tokenizer/pair_merger.h"
#include "runner/model/tokenizer/pre_tokenizer.h"
#include "runner/model/tokenizer/text_table.h"
#include "runner/model/tokenizer/tokenizer_base.h"

namespace deepserve::runner {

class ByteLevelBpe final : public TokenizerBase {
 public:
  static Result<std::unique_ptr<Tokenizer>> make(Vocabulary vocabulary);

 private:
  ByteLevelBpe(Vocabulary vocabulary, TokenBytes bytes, PreTokenizer pre_tokenizer);
  Result<void> read_merges();
  void encode_plain(std::string_view text, bool at_start, std::vector<TokenId>& ids) const override;
  void encode_piece(std::string_view piece, std::vector<TokenId>& ids) const;
  bool is_own_encoding(TokenId token) const;
  void merge(std::string_view piece, std::vector<TokenId>& ids) const;

  static constexpr TokenId kNoToken = 0xffffffff;
  enum class OwnEncoding : uint8_t { kNotTried, kYes, kNo };

  PreTokenizer pre_tokenizer_;
  TextTable<TokenBytes> texts_;  // bytes of every normal token -> the first id with them
  PairMerger merger_;
  std::array<TokenId, 256> byte_tokens_;  // kNoToken: the vocabulary cannot say this byte
  // Whether merging a token's bytes gives that token, found out when its text first comes as a piece: then
  // the piece needs no merging. Any thread that finds out writes the same value.
  mutable std::vector<std::atomic<OwnEncoding>> own_encoding_;
};

}  // namespace deepserve::runner
