#include "runner/grammar/token_trie.h"

#include <algorithm>
#include <array>

#include "runner/grammar/free_characters.h"

namespace deepserve::runner {
namespace {

// Trees of plain tokens, by their characters; the last one has all other tokens.
constexpr std::array<uint32_t, 6> kTreeCharacters = {2, 4, 8, 16, kFreeCharactersMax, 0};

uint64_t prefix_of(std::string_view text) {
  uint64_t prefix = 0;
  for (size_t i = 0; i < 8; ++i)
    prefix = prefix << 8 | (i < text.size() ? static_cast<uint8_t>(text[i]) : 0u);
  return prefix;
}

size_t tree_of(std::string_view text) {
  const uint32_t characters = plain_characters(text);
  const size_t last = kTreeCharacters.size() - 1;
  if (characters == 0) return last;
  for (size_t tree = 0; tree < last; ++tree) {
    if (characters <= kTreeCharacters[tree]) return tree;
  }
  return last;
}

size_t common_bytes(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

struct TokenVocabularyTrie::Entry {
  size_t tree;
  uint64_t prefix;  // its first 8 bytes: most comparisons need no more
  std::string_view text;
  TokenId token;
};

TokenVocabularyTrie::TokenVocabularyTrie(const Tokenizer& tokenizer, uint32_t vocabulary)
    : tokenizer_(tokenizer), vocabulary_(vocabulary) {
  const std::vector<Entry> entries = sorted_entries();
  auto begin = entries.begin();
  for (size_t tree = 0; tree < kTreeCharacters.size(); ++tree) {
    const auto end =
        std::find_if(begin, entries.end(), [=](const Entry& entry) { return entry.tree != tree; });
    add_tree({begin, end}, kTreeCharacters[tree]);
    begin = end;
  }
}

std::vector<TokenVocabularyTrie::Entry> TokenVocabularyTrie::sorted_entries() const {
  std::vector<Entry> entries;
  entries.reserve(vocabulary_);
  for (TokenId token = 0; token < vocabulary_; ++token) {
    const std::string_view text = tokenizer_.token_bytes(token);
    const bool too_long = text.size() > std::numeric_limits<uint16_t>::max();
    if (text.empty() || too_long || tokenizer_.ends_generation(token)) continue;
    entries.push_back({tree_of(text), prefix_of(text), text, token});
  }
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    if (a.tree != b.tree) return a.tree < b.tree;
    if (a.prefix != b.prefix) return a.prefix < b.prefix;
    const int order = a.text.compare(b.text);
    return order != 0 ? order < 0 : a.token < b.token;
  });
  return entries;
}

TokenVocabularyTrie::Node TokenVocabularyTrie::add_node(uint8_t byte, size_t depth) {
  bytes_.push_back(byte);
  depths_.push_back(static_cast<uint16_t>(depth));
  ends_.push_back(0);
  tokens_.push_back(kNoToken);
  return static_cast<Node>(bytes_.size() - 1);
}

// `entries` in the order of their texts.
void TokenVocabularyTrie::add_tree(std::span<const Entry> entries, uint32_t characters_max) {
  Tree tree{add_node(0, 0), characters_max, {}};
  if (characters_max > 0) tree.tokens.resize(mask_words());
  std::vector<Node> path = {tree.root};  // [depth]
  std::string_view last;
  for (const Entry& entry : entries) {
    const size_t common = common_bytes(last, entry.text);
    for (; path.size() > common + 1; path.pop_back()) ends_[path.back()] = static_cast<Node>(nodes());
    for (size_t i = common; i < entry.text.size(); ++i)
      path.push_back(add_node(static_cast<uint8_t>(entry.text[i]), i + 1));
    last = entry.text;
    TokenId& first = tokens_[path.back()];
    if (first != kNoToken) {
      if (same_text_.empty()) same_text_.assign(vocabulary_, kNoToken);
      same_text_[entry.token] = first;
    }
    first = entry.token;
    if (characters_max > 0) tree.tokens[entry.token / 64] |= uint64_t{1} << entry.token % 64;
    if (std::ranges::count(entry.text, '"') >= 2) with_quotes_.push_back(entry.token);
  }
  for (const Node node : path) ends_[node] = static_cast<Node>(nodes());
  trees_.push_back(std::move(tree));
}

TokenVocabularyTrie::Node TokenVocabularyTrie::child(Node node, uint8_t byte) const {
  for (Node child = node + 1; child < ends_[node]; child = ends_[child]) {
    if (bytes_[child] == byte) return child;
    if (bytes_[child] > byte) break;
  }
  return kNoNode;
}

}  // namespace deepserve::runner
