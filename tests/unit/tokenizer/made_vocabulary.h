// Vocabularies made in the test.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "runner/model/tokenizer/byte_alphabet.h"
#include "runner/model/tokenizer/utf8.h"
#include "runner/model/vocabulary.h"

namespace deepserve::runner {

inline TokenId add_token(Vocabulary& vocabulary, std::string text, TokenKind kind) {
  vocabulary.tokens.push_back(std::move(text));
  vocabulary.kinds.push_back(kind);
  return static_cast<TokenId>(vocabulary.tokens.size() - 1);
}

// The 256 bytes, the id being the byte.
inline Vocabulary byte_vocabulary(std::string pre_tokenizer) {
  Vocabulary vocabulary;
  vocabulary.pre_tokenizer = std::move(pre_tokenizer);
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string character;
    append_utf8(character, byte_alphabet_character(static_cast<unsigned char>(byte)));
    add_token(vocabulary, character, TokenKind::kNormal);
  }
  return vocabulary;
}

// Adds the merge "left right" and the token that it makes; the result's id.
inline TokenId add_merge(Vocabulary& vocabulary, std::string_view left, std::string_view right) {
  vocabulary.merges.push_back(std::string(left) + " " + std::string(right));
  return add_token(vocabulary, std::string(left) + std::string(right), TokenKind::kNormal);
}

struct Piece {
  std::string_view text;
  float score;
};

// <unk>, <s>, </s> and the 256 byte tokens (byte b has the id 3 + b), then `pieces`.
inline Vocabulary piece_vocabulary(std::initializer_list<Piece> pieces) {
  Vocabulary vocabulary;
  vocabulary.kind = TokenizerKind::kSentencePiece;
  vocabulary.unknown = add_token(vocabulary, "<unk>", TokenKind::kUnknown);
  vocabulary.bos = add_token(vocabulary, "<s>", TokenKind::kControl);
  vocabulary.eos = add_token(vocabulary, "</s>", TokenKind::kControl);
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (unsigned byte = 0; byte < 256; ++byte) {
    add_token(vocabulary, std::string("<0x") + kHex[byte >> 4] + kHex[byte & 15] + ">", TokenKind::kByte);
  }
  vocabulary.scores.resize(vocabulary.tokens.size());
  for (const Piece& piece : pieces) {
    add_token(vocabulary, std::string(piece.text), TokenKind::kNormal);
    vocabulary.scores.push_back(piece.score);
  }
  return vocabulary;
}

}  // namespace deepserve::runner
