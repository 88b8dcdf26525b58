#include "runner/model/byte_level_bpe.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "ipc/base/check.h"
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

// A linked list of symbols and a heap of candidate merges: n log n, also for a megabyte without a space.
void ByteLevelBpe::merge_long(std::span<TokenId> symbols, std::vector<TokenId>& ids) const {
  CHECK(symbols.size() < kNoRank);
  const auto end = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> previous(end), next(end);
  // A candidate is its rank above its left symbol's index, so that the least one is to be merged first.
  std::vector<uint64_t> candidates;
  const auto look_up = [&](uint32_t left) { return merges_.find(symbols[left], symbols[next[left]]); };
  const auto candidate = [](uint32_t rank, uint32_t left) { return uint64_t{rank} << 32 | left; };
  const auto propose = [&](uint32_t left) {
    const PairTable::Merge* found = next[left] == end ? nullptr : look_up(left);
    if (!found) return;
    candidates.push_back(candidate(found->rank, left));
    std::push_heap(candidates.begin(), candidates.end(), std::greater<>());
  };
  for (uint32_t i = 0; i < end; ++i) {
    previous[i] = i - 1;
    next[i] = i + 1;
    const PairTable::Merge* found = i + 1 < end ? look_up(i) : nullptr;
    if (found) candidates.push_back(candidate(found->rank, i));
  }
  std::make_heap(candidates.begin(), candidates.end(), std::greater<>());
  while (!candidates.empty()) {
    std::pop_heap(candidates.begin(), candidates.end(), std::greater<>());
    const auto left = static_cast<uint32_t>(candidates.back());
    const auto rank = static_cast<uint32_t>(candidates.back() >> 32);
    candidates.pop_back();
    if (symbols[left] == kNoToken || next[left] == end) continue;
    const PairTable::Merge* found = look_up(left);
    if (!found || found->rank != rank) continue;  // one of the two was merged meanwhile
    const uint32_t right = next[left];
    symbols[left] = found->merged;
    symbols[right] = kNoToken;
    next[left] = next[right];
    if (next[right] != end) previous[next[right]] = left;
    propose(left);
    if (left > 0) propose(previous[left]);
  }
  for (uint32_t i = 0; i < end; i = next[i]) ids.push_back(symbols[i]);
}

}  // namespace deepserve::runner
