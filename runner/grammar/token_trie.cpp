#include "runner/grammar/token_trie.h"

#include <algorithm>

namespace deepserve::runner {
namespace {

struct Entry {
  uint64_t prefix;  // its first 8 bytes: most comparisons need no more
  std::string_view text;
  TokenId token;
};

uint64_t prefix_of(std::string_view text) {
  uint64_t prefix = 0;
  for (size_t i = 0; i < 8; ++i)
    prefix = prefix << 8 | (i < text.size() ? static_cast<uint8_t>(text[i]) : 0u);
  return prefix;
}

std::vector<Entry> sorted_entries(const Tokenizer& tokenizer, uint32_t vocabulary) {
  std::vector<Entry> entries;
  entries.reserve(vocabulary);
  for (TokenId token = 0; token < vocabulary; ++token) {
    const std::string_view text = tokenizer.token_bytes(token);
    const bool too_long = text.size() > std::numeric_limits<uint16_t>::max();
    if (text.empty() || too_long || tokenizer.ends_generation(token)) continue;
    entries.push_back({prefix_of(text), text, token});
  }
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    if (a.prefix != b.prefix) return a.prefix < b.prefix;
    const int order = a.text.compare(b.text);
    return order != 0 ? order < 0 : a.token < b.token;
  });
  return entries;
}

size_t common_bytes(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

TokenVocabularyTrie::TokenVocabularyTrie(const Tokenizer& tokenizer, uint32_t vocabulary)
    : tokenizer_(tokenizer), vocabulary_(vocabulary) {
  const auto add_node = [this](uint8_t byte, size_t depth) {
    bytes_.push_back(byte);
    depths_.push_back(static_cast<uint16_t>(depth));
    ends_.push_back(0);
    tokens_.push_back(kNoToken);
    return static_cast<Node>(bytes_.size() - 1);
  };
  std::vector<Node> path = {add_node(0, 0)};  // [depth]
  std::string_view last;
  for (const Entry& entry : sorted_entries(tokenizer, vocabulary)) {
    const size_t common = common_bytes(last, entry.text);
    for (; path.size() > common + 1; path.pop_back()) ends_[path.back()] = static_cast<Node>(nodes());
    for (size_t i = common; i < entry.text.size(); ++i)
      path.push_back(add_node(static_cast<uint8_t>(entry.text[i]), i + 1));
    last = entry.text;
    TokenId& first = tokens_[path.back()];
    if (first != kNoToken) {
      if (same_text_.empty()) same_text_.assign(vocabulary, kNoToken);
      same_text_[entry.token] = first;
    }
    first = entry.token;
    if (std::ranges::count(entry.text, '"') >= 2) with_quotes_.push_back(entry.token);
  }
  for (const Node node : path) ends_[node] = static_cast<Node>(nodes());
}

TokenVocabularyTrie::Node TokenVocabularyTrie::child(Node node, uint8_t byte) const {
  for (Node child = node + 1; child < ends_[node]; child = ends_[child]) {
    if (bytes_[child] == byte) return child;
    if (bytes_[child] > byte) break;
  }
  return kRoot;
}

}  // namespace deepserve::runner
