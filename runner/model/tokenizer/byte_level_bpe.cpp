#include "runner/model/tokenizer/byte_level_bpe.h"

#include <utility>

#include "runner/model/tokenizer/byte_alphabet.h"

namespace deepserve::runner {
namespace {

constexpr size_t kSymbolsOnStack = 64;
constexpr size_t kMergesMax = 0xfffffffe;

// A normal token's bytes; a spelling outside of the alphabet stands for itself, as Hugging Face's decoder has
// it.
std::string bytes_of_token(const std::string& text, TokenKind kind) {
  if (kind != TokenKind::kNormal) return text;
  std::optional<std::string> bytes = bytes_of_spelling(text);
  return bytes ? *std::move(bytes) : text;
}

Result<PreTokenizer> make_pre_tokenizer(Vocabulary& vocabulary) {
  if (vocabulary.split_steps) return PreTokenizer::make(*vocabulary.split_steps);
  TRY_ASSIGN(const PreTokenizer::Named* named, PreTokenizer::find_named(vocabulary.pre_tokenizer));
  vocabulary.whole_pieces_first = named->whole_pieces_first;
  if (named->composed) vocabulary.normalizer = {{.kind = NormalizerStep::Kind::kNfc}};
  return PreTokenizer::make(*named);
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> ByteLevelBpe::make(Vocabulary vocabulary) {
  TRY(check_and_correct(vocabulary));
  TRY_ASSIGN(PreTokenizer pre_tokenizer, make_pre_tokenizer(vocabulary));
  TokenBytes bytes(vocabulary.tokens.size());
  const auto normalized = normalized_added_tokens(vocabulary);
  for (TokenId token = 0; token < vocabulary.tokens.size(); ++token) {
    const auto changed = normalized.find(token);
    if (changed == normalized.end())
      bytes.append(bytes_of_token(vocabulary.tokens[token], vocabulary.kinds[token]));
    else
      bytes.append(changed->second);
  }
  std::unique_ptr<ByteLevelBpe> made(
      new ByteLevelBpe(std::move(vocabulary), std::move(bytes), std::move(pre_tokenizer)));
  TRY(made->read_merges());
  made->forget_merges();
  return made;
}

ByteLevelBpe::ByteLevelBpe(Vocabulary vocabulary, TokenBytes token_bytes, PreTokenizer pre_tokenizer)
    : TokenizerBase(std::move(vocabulary), std::move(token_bytes)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      texts_(bytes(), bytes().size()),
      own_encoding_(bytes().size()) {
  byte_tokens_.fill(kNoToken);
  for (TokenId token = 0; token < bytes().size(); ++token) {
    if (this->vocabulary().kinds[token] != TokenKind::kNormal) continue;
    const std::string_view text = bytes()[token];
    const std::string& spelling = this->vocabulary().tokens[token];
    // What is not spelt in the alphabet is never made of text, which is.
    if (text == spelling && !bytes_of_spelling(spelling)) continue;
    texts_.add(token);
    if (text.size() != 1) continue;
    TokenId& byte_token = byte_tokens_[static_cast<uint8_t>(text[0])];
    if (byte_token == kNoToken) byte_token = token;
  }
}

Result<void> ByteLevelBpe::read_merges() {
  if (vocabulary().split_steps) {
    merger_ = PairMerger(vocabulary().token_merges.size());
    for (const TokenMerge& merge : vocabulary().token_merges) {
      merger_.add(merge.left, merge.right, merge.merged);
    }
    return {};
  }
  const std::vector<std::string>& merges = vocabulary().merges;
  if (merges.size() > kMergesMax)
    return fail(Code::kBadModelFile, "{} merges are more than can be", merges.size());
  merger_ = PairMerger(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view merge = merges[rank];
    const size_t space = merge.find(' ', 1);
    if (merge.empty() || space == merge.npos || space + 1 == merge.size()) {
      return fail(Code::kBadModelFile, "merge {} is not two pieces with a space between them", rank);
    }
    const std::optional<std::string> left = bytes_of_spelling(merge.substr(0, space));
    const std::optional<std::string> right = bytes_of_spelling(merge.substr(space + 1));
    if (!left || !right) {
      return fail(Code::kBadModelFile, "merge {} has a character that spells no byte", rank);
    }
    const std::optional<TokenId> left_token = texts_.find(*left);
    const std::optional<TokenId> right_token = texts_.find(*right);
    const std::optional<TokenId> merged = texts_.find(*left + *right);
    if (!left_token || !right_token || !merged) {
      const std::string_view side = !left_token ? "left side" : !right_token ? "right side" : "result";
      return fail(Code::kBadModelFile, "merge {}: its {} is no token", rank, side);
    }
    merger_.add(*left_token, *right_token, *merged);
  }
  return {};
}

void ByteLevelBpe::encode_plain(std::string_view text, bool at_start, std::vector<TokenId>& ids) const {
  std::string changed;
  text = with_prefix(text, at_start, changed);
  std::vector<std::string_view> pieces;
  pieces.reserve(text.size() / 4 + 1);
  pre_tokenizer_.split(text, pieces);
  for (std::string_view piece : pieces) encode_piece(piece, ids);
}

void ByteLevelBpe::encode_piece(std::string_view piece, std::vector<TokenId>& ids) const {
  if (const std::optional<TokenId> token = texts_.find(piece)) {
    if (vocabulary().whole_pieces_first || is_own_encoding(*token)) return ids.push_back(*token);
  }
  merge(piece, ids);
}

bool ByteLevelBpe::is_own_encoding(TokenId token) const {
  std::atomic<OwnEncoding>& known = own_encoding_[token];
  OwnEncoding own = known.load(std::memory_order_relaxed);
  if (own == OwnEncoding::kNotTried) {
    std::vector<TokenId> ids;
    merge(bytes()[token], ids);
    own = ids.size() == 1 && ids[0] == token ? OwnEncoding::kYes : OwnEncoding::kNo;
    known.store(own, std::memory_order_relaxed);
  }
  return own == OwnEncoding::kYes;
}

void ByteLevelBpe::merge(std::string_view piece, std::vector<TokenId>& ids) const {
  std::array<TokenId, kSymbolsOnStack> short_symbols;
  std::vector<TokenId> long_symbols;
  if (piece.size() > short_symbols.size()) long_symbols.resize(piece.size());
  TokenId* symbols = piece.size() > short_symbols.size() ? long_symbols.data() : short_symbols.data();
  // A byte that the vocabulary cannot say is the unknown token where a tokenizer.json names one, else it is
  // left out.
  const TokenId unknown = vocabulary().split_steps && vocabulary().unknown ? *vocabulary().unknown : kNoToken;
  size_t count = 0;
  for (char byte : piece) {
    TokenId token = byte_tokens_[static_cast<uint8_t>(byte)];
    if (token == kNoToken) token = unknown;
    const bool is_fused =
        token == unknown && vocabulary().fuse_unknown && count > 0 && symbols[count - 1] == unknown;
    if (token != kNoToken && !is_fused) symbols[count++] = token;
  }
  merger_.merge({symbols, count}, ids);
}

}  // namespace deepserve::runner
