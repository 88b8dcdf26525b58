#include "runner/model/byte_level_bpe.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

#include "runner/model/byte_alphabet.h"

namespace deepserve::runner {
namespace {

constexpr size_t kShortPieceBytes = 48;  // up to here looking at every pair anew is faster than a queue
constexpr uint32_t kNoRank = 0xffffffff;

// A normal token's bytes; a spelling outside of the alphabet stands for itself, as Hugging Face's decoder has
// it.
std::string bytes_of_token(const std::string& text, TokenKind kind) {
  if (kind != TokenKind::kNormal) return text;
  std::optional<std::string> bytes = bytes_of_spelling(text);
  return bytes ? *std::move(bytes) : text;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> ByteLevelBpe::make(Vocabulary vocabulary) {
  TRY(check_and_correct(vocabulary));
  TRY_ASSIGN(PreTokenizer pre_tokenizer, PreTokenizer::make(vocabulary.pre_tokenizer));
  TokenBytes bytes(vocabulary.tokens.size());
  for (TokenId token = 0; token < vocabulary.tokens.size(); ++token) {
    bytes.append(bytes_of_token(vocabulary.tokens[token], vocabulary.kinds[token]));
  }
  std::unique_ptr<ByteLevelBpe> made(
      new ByteLevelBpe(std::move(vocabulary), std::move(bytes), std::move(pre_tokenizer)));
  TRY(made->read_merges());
  return made;
}

ByteLevelBpe::ByteLevelBpe(Vocabulary vocabulary, TokenBytes token_bytes, PreTokenizer pre_tokenizer)
    : TokenizerBase(std::move(vocabulary), std::move(token_bytes)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      texts_(bytes().size()),
      own_encoding_(bytes().size()) {
  byte_tokens_.fill(kNoToken);
  for (TokenId token = 0; token < bytes().size(); ++token) {
    if (this->vocabulary().kinds[token] != TokenKind::kNormal) continue;
    const std::string_view text = bytes()[token];
    texts_.add(text, token);
    if (text.size() != 1) continue;
    TokenId& byte_token = byte_tokens_[static_cast<uint8_t>(text[0])];
    if (byte_token == kNoToken) byte_token = token;
  }
}

Result<void> ByteLevelBpe::read_merges() {
  const std::vector<std::string>& merges = vocabulary().merges;
  if (merges.size() >= kNoRank)
    return fail(Code::kBadModelFile, "{} merges are more than can be", merges.size());
  merges_ = PairTable(merges.size());
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
    merges_.add(*left_token, *right_token, {static_cast<uint32_t>(rank), *merged});
  }
  return {};
}

void ByteLevelBpe::encode_plain(std::string_view text, bool, std::vector<TokenId>& ids) const {
  std::vector<std::string_view> pieces;
  pieces.reserve(text.size() / 4 + 1);
  pre_tokenizer_.split(text, pieces);
  for (std::string_view piece : pieces) encode_piece(piece, ids);
}

void ByteLevelBpe::encode_piece(std::string_view piece, std::vector<TokenId>& ids) const {
  if (const std::optional<TokenId> token = texts_.find(piece)) {
    if (pre_tokenizer_.whole_pieces_first() || is_own_encoding(*token)) return ids.push_back(*token);
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
  std::array<TokenId, kShortPieceBytes> short_symbols;
  std::vector<TokenId> long_symbols;
  if (piece.size() > kShortPieceBytes) long_symbols.resize(piece.size());
  TokenId* symbols = piece.size() > kShortPieceBytes ? long_symbols.data() : short_symbols.data();
  size_t count = 0;
  for (char byte : piece) {
    // A byte that the vocabulary cannot say is left out, as Hugging Face does without an unknown token.
    const TokenId token = byte_tokens_[static_cast<uint8_t>(byte)];
    if (token != kNoToken) symbols[count++] = token;
  }
  if (count <= kShortPieceBytes) return merge_short({symbols, count}, ids);
  merge_long({symbols, count}, ids);
}

void ByteLevelBpe::merge_short(std::span<TokenId> symbols, std::vector<TokenId>& ids) const {
  std::array<PairTable::Merge, kShortPieceBytes> merges;  // [i]: of the symbols i and i + 1
  size_t count = symbols.size();
  const auto look_up = [&](size_t i) {
    const PairTable::Merge* found = i + 1 < count ? merges_.find(symbols[i], symbols[i + 1]) : nullptr;
    merges[i] = found ? *found : PairTable::Merge{kNoRank, kNoToken};
  };
  for (size_t i = 0; i < count; ++i) look_up(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoRank) break;
    symbols[best] = merges[best].merged;
    std::move(symbols.begin() + best + 2, symbols.begin() + count, symbols.begin() + best + 1);
    std::move(merges.begin() + best + 2, merges.begin() + count, merges.begin() + best + 1);
    --count;
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + count);
}

// A linked list of symbols and a queue of candidate merges: n log n, also for a megabyte without a space.
void ByteLevelBpe::merge_long(std::span<TokenId> symbols, std::vector<TokenId>& ids) const {
  struct Candidate {
    uint32_t rank;
    size_t left;
    TokenId merged;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  const size_t end = symbols.size();
  std::vector<size_t> previous(end), next(end);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto propose = [&](size_t left) {
    if (next[left] == end) return;
    const PairTable::Merge* found = merges_.find(symbols[left], symbols[next[left]]);
    if (found) candidates.push({found->rank, left, found->merged});
  };
  for (size_t i = 0; i < end; ++i) {
    previous[i] = i - 1;
    next[i] = i + 1;
  }
  for (size_t i = 0; i < end; ++i) propose(i);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    const size_t left = best.left;
    if (symbols[left] == kNoToken || next[left] == end) continue;
    const size_t right = next[left];
    const PairTable::Merge* current = merges_.find(symbols[left], symbols[right]);
    if (!current || current->rank != best.rank) continue;  // one of the two was merged meanwhile
    symbols[left] = best.merged;
    symbols[right] = kNoToken;
    next[left] = next[right];
    if (next[right] != end) previous[next[right]] = left;
    propose(left);
    if (left > 0) propose(previous[left]);
  }
  for (size_t i = 0; i < end; i = next[i]) ids.push_back(symbols[i]);
}

}  // namespace deepserve::runner
