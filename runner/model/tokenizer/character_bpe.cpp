#include "runner/model/tokenizer/character_bpe.h"

#include <algorithm>
#include <utility>

#include "runner/model/tokenizer/byte_alphabet.h"
#include "runner/model/tokenizer/normalizer.h"
#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {
namespace {

Result<std::string> bytes_of_token(const Vocabulary& vocabulary, TokenId token, const std::string& text) {
  if (vocabulary.kinds[token] == TokenKind::kByte) {
    const std::optional<uint8_t> byte = byte_of_piece(text);
    if (!byte) return fail(Code::kBadModelFile, "token {} is a byte but not spelt <0xNN>", token);
    return std::string(1, static_cast<char>(*byte));
  }
  return vocabulary.space_mark.empty() ? text : with_replaced(text, vocabulary.space_mark, " ");
}

// Marks and the word after them.
size_t word_bytes(std::string_view text, std::string_view mark) {
  size_t at = 0;
  while (text.substr(at).starts_with(mark)) at += mark.size();
  return std::min(text.find(mark, at), text.size());
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> CharacterBpe::make(Vocabulary vocabulary) {
  TRY(check_and_correct(vocabulary));
  if (!vocabulary.split_steps)
    return fail(Code::kInternal, "character BPE is made of a tokenizer.json alone");
  TRY_ASSIGN(PreTokenizer pre_tokenizer, PreTokenizer::make(*vocabulary.split_steps));
  TokenBytes bytes(vocabulary.tokens.size());
  const auto normalized = normalized_added_tokens(vocabulary);
  for (TokenId token = 0; token < vocabulary.tokens.size(); ++token) {
    const auto changed = normalized.find(token);
    const std::string& spelling = changed == normalized.end() ? vocabulary.tokens[token] : changed->second;
    TRY_ASSIGN(const std::string text, bytes_of_token(vocabulary, token, spelling));
    bytes.append(text);
  }
  return std::unique_ptr<Tokenizer>(
      new CharacterBpe(std::move(vocabulary), std::move(bytes), std::move(pre_tokenizer)));
}

CharacterBpe::CharacterBpe(Vocabulary vocabulary, TokenBytes token_bytes, PreTokenizer pre_tokenizer)
    : TokenizerBase(std::move(vocabulary), std::move(token_bytes)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      texts_(this->vocabulary().tokens, bytes().size()),
      merger_(this->vocabulary().token_merges.size()) {
  byte_tokens_.fill(kNoToken);
  const Vocabulary& own = this->vocabulary();
  for (TokenId token = 0; token < own.tokens.size(); ++token) {
    const TokenKind kind = own.kinds[token];
    if (kind == TokenKind::kNormal || kind == TokenKind::kUserDefined) texts_.add(token);
    if (kind == TokenKind::kByte) byte_tokens_[static_cast<uint8_t>(bytes()[token][0])] = token;
  }
  for (const TokenMerge& merge : own.token_merges) merger_.add(merge.left, merge.right, merge.merged);
  cuts_words_ = may_cut_words();
  forget_merges();
}

bool CharacterBpe::may_cut_words() const {
  const Vocabulary& own = vocabulary();
  const std::string& mark = own.space_mark;
  if (!pre_tokenizer_.is_empty() || own.whole_pieces_first || mark.empty() || !texts_.find(mark))
    return false;
  return std::none_of(own.token_merges.begin(), own.token_merges.end(), [&](const TokenMerge& merge) {
    const std::string& merged = own.tokens[merge.merged];
    return word_bytes(merged, mark) < merged.size();
  });
}

void CharacterBpe::encode_plain(std::string_view text, bool at_start, std::vector<TokenId>& ids) const {
  std::string changed;
  text = with_prefix(text, at_start, changed);
  std::vector<TokenId> symbols;
  if (cuts_words_) {
    while (!text.empty()) {
      const size_t bytes_together = word_bytes(text, vocabulary().space_mark);
      encode_piece(text.substr(0, bytes_together), symbols, ids);
      text.remove_prefix(bytes_together);
    }
    return;
  }
  std::vector<std::string_view> pieces;
  if (pre_tokenizer_.is_empty())
    pieces.push_back(text);
  else
    pre_tokenizer_.split(text, pieces);
  for (std::string_view piece : pieces) encode_piece(piece, symbols, ids);
}

void CharacterBpe::encode_piece(std::string_view piece, std::vector<TokenId>& symbols,
                                std::vector<TokenId>& ids) const {
  if (vocabulary().whole_pieces_first) {
    if (const std::optional<TokenId> token = texts_.find(piece)) return ids.push_back(*token);
  }
  symbols.clear();
  while (!piece.empty()) {
    const size_t bytes = utf8_step(piece).bytes;
    append_symbols(piece.substr(0, bytes), symbols);
    piece.remove_prefix(bytes);
  }
  merger_.merge(symbols, ids);
}

void CharacterBpe::append_symbols(std::string_view character, std::vector<TokenId>& symbols) const {
  if (const std::optional<TokenId> token = texts_.find(character)) return symbols.push_back(*token);
  const auto byte_token = [&](char byte) { return byte_tokens_[static_cast<uint8_t>(byte)]; };
  if (std::all_of(character.begin(), character.end(), [&](char b) { return byte_token(b) != kNoToken; })) {
    for (char byte : character) symbols.push_back(byte_token(byte));
    return;
  }
  if (!vocabulary().unknown) return;
  const bool is_fused =
      vocabulary().fuse_unknown && !symbols.empty() && symbols.back() == *vocabulary().unknown;
  if (!is_fused) symbols.push_back(*vocabulary().unknown);
}

}  // namespace deepserve::runner
