#include "runner/model/tokenizer/sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "runner/model/tokenizer/byte_alphabet.h"
#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {
namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581

std::string with_spaces(std::string_view piece) {
  return with_replaced(piece, kSpaceMark, " ");
}

Result<std::string> bytes_of_token(const std::string& text, TokenKind kind, size_t token) {
  if (kind == TokenKind::kNormal) return with_spaces(text);
  if (kind != TokenKind::kByte) return text;
  const std::optional<uint8_t> byte = byte_of_piece(text);
  if (!byte) return fail(Code::kBadModelFile, "token {} is a byte but not spelt <0xNN>", token);
  return std::string(1, static_cast<char>(*byte));
}

// Whether text of this piece goes on after a space: then words cannot be merged one by one.
bool crosses_words(std::string_view bytes) {
  const size_t word = bytes.find_first_not_of(' ');
  return word != bytes.npos && bytes.find(' ', word) != bytes.npos;
}

// Spaces and the word after them.
size_t word_bytes(std::string_view text) {
  const size_t word = text.find_first_not_of(' ');
  return word == text.npos ? text.size() : std::min(text.find(' ', word), text.size());
}

}  // namespace

struct SentencePiece::Candidate {
  float score;
  size_t left;   // begin of the left symbol in the text
  size_t bytes;  // of both symbols
  bool operator<(const Candidate& other) const {
    return score != other.score ? score < other.score : left > other.left;
  }
};

// Symbols cover the text; each is known by the byte where it begins. Kept from word to word for its memory.
struct SentencePiece::Symbols {
  void cover(std::string_view text) {
    previous.assign(text.size(), 0);
    bytes.assign(text.size(), 0);
    for (size_t at = 0, before = 0; at < text.size();) {
      bytes[at] = utf8_step(text.substr(at)).bytes;
      previous[at] = before;
      before = at;
      at += bytes[at];
    }
  }
  std::vector<size_t> previous;       // begin of the symbol before; of the first: 0
  std::vector<size_t> bytes;          // 0: no symbol begins here any more
  std::vector<Candidate> candidates;  // a heap
};

Result<std::unique_ptr<Tokenizer>> SentencePiece::make(Vocabulary vocabulary) {
  TRY(check_and_correct(vocabulary));
  const size_t tokens = vocabulary.tokens.size();
  if (vocabulary.scores.size() != tokens) {
    return fail(Code::kBadModelFile, "the vocabulary has {} tokens but {} scores", tokens,
                vocabulary.scores.size());
  }
  TokenBytes bytes(tokens);
  for (TokenId token = 0; token < tokens; ++token) {
    if (std::isnan(vocabulary.scores[token])) {
      return fail(Code::kBadModelFile, "the score of token {} is not a number", token);
    }
    TRY_ASSIGN(const std::string text,
               bytes_of_token(vocabulary.tokens[token], vocabulary.kinds[token], token));
    bytes.append(text);
  }
  vocabulary.leading_space = vocabulary.add_space_prefix ? LeadingSpace::kOneDropped : LeadingSpace::kKept;
  return std::unique_ptr<Tokenizer>(new SentencePiece(std::move(vocabulary), std::move(bytes)));
}

SentencePiece::SentencePiece(Vocabulary vocabulary, TokenBytes token_bytes)
    : TokenizerBase(std::move(vocabulary), std::move(token_bytes)), pieces_(bytes(), bytes().size()) {
  byte_tokens_.fill(kNoToken);
  for (TokenId token = 0; token < bytes().size(); ++token) {
    const std::string_view text = bytes()[token];
    const TokenKind kind = this->vocabulary().kinds[token];
    if (kind == TokenKind::kNormal) {
      pieces_.add(token);
      pieces_cross_words_ = pieces_cross_words_ || crosses_words(text);
    }
    if (kind != TokenKind::kByte) continue;
    TokenId& byte_token = byte_tokens_[static_cast<uint8_t>(text[0])];
    if (byte_token == kNoToken) byte_token = token;
  }
}

void SentencePiece::encode_plain(std::string_view text, bool, std::vector<TokenId>& ids) const {
  std::string changed;
  if (vocabulary().add_space_prefix) {
    changed.reserve(text.size() + 1);
    text = changed.append(" ").append(text);
  }
  if (text.find(kSpaceMark) != text.npos) text = changed = with_spaces(text);
  Symbols symbols;
  while (!text.empty()) {
    const size_t bytes_together = pieces_cross_words_ ? text.size() : word_bytes(text);
    merge(text.substr(0, bytes_together), symbols, ids);
    text.remove_prefix(bytes_together);
  }
}

void SentencePiece::merge(std::string_view text, Symbols& symbols, std::vector<TokenId>& ids) const {
  symbols.cover(text);
  std::vector<Candidate>& candidates = symbols.candidates;
  const auto propose = [&](size_t left) {
    const size_t right = left + symbols.bytes[left];
    if (right >= text.size()) return;
    const size_t both_bytes = symbols.bytes[left] + symbols.bytes[right];
    const std::optional<TokenId> token = pieces_.find(text.substr(left, both_bytes));
    if (!token) return;
    candidates.push_back({vocabulary().scores[*token], left, both_bytes});
    std::push_heap(candidates.begin(), candidates.end());
  };
  for (size_t at = 0; at < text.size(); at += symbols.bytes[at]) propose(at);
  while (!candidates.empty()) {
    std::pop_heap(candidates.begin(), candidates.end());
    const auto [score, left, both_bytes] = candidates.back();
    candidates.pop_back();
    const size_t right = left + symbols.bytes[left];
    if (symbols.bytes[left] == 0 || right >= text.size()) continue;
    if (symbols.bytes[left] + symbols.bytes[right] != both_bytes) continue;  // one was merged meanwhile
    symbols.bytes[left] = both_bytes;
    symbols.bytes[right] = 0;
    const size_t after = left + both_bytes;
    if (after < text.size()) symbols.previous[after] = left;
    if (left > 0) propose(symbols.previous[left]);
    propose(left);
  }
  for (size_t at = 0; at < text.size(); at += symbols.bytes[at]) {
    append_symbol(text.substr(at, symbols.bytes[at]), ids);
  }
}

void SentencePiece::append_symbol(std::string_view symbol, std::vector<TokenId>& ids) const {
  if (const std::optional<TokenId> token = pieces_.find(symbol)) return ids.push_back(*token);
  bool unknown = false;
  for (char byte : symbol) {
    const TokenId token = byte_tokens_[static_cast<uint8_t>(byte)];
    if (token != kNoToken) ids.push_back(token);
    unknown = unknown || token == kNoToken;
  }
  if (unknown && vocabulary().unknown) ids.push_back(*vocabulary().unknown);
}

}  // namespace deepserve::runner
