#include "runner/grammar/unique_keys.h"

#include <algorithm>

#include "runner/grammar/mask_walk.h"

namespace deepserve::runner {

template <typename Brackets>
bool UniqueKeys::scan(char byte, Scan& scan, Brackets& brackets) {
  switch (scan.place) {
    case Place::kKey: {
      if (byte != '"') {
        scan.key += byte;
        if (byte == '\\') scan.place = Place::kKeyEscape;
        return true;
      }
      scan.place = Place::kOther;
      const bool is_new = brackets.add_key(std::move(scan.key));
      scan.key.clear();
      return is_new;
    }
    case Place::kKeyEscape:
      scan.key += byte;
      scan.place = Place::kKey;
      return true;
    case Place::kString:
      if (byte == '"') scan.place = Place::kOther;
      if (byte == '\\') scan.place = Place::kEscape;
      return true;
    case Place::kEscape:
      scan.place = Place::kString;
      return true;
    case Place::kBeforeKey:
    case Place::kOther:
      break;
  }
  switch (byte) {
    case '"':
      scan.place = scan.place == Place::kBeforeKey ? Place::kKey : Place::kString;
      break;
    case '{':
    case '[':
      brackets.open(byte == '{');
      scan.place = byte == '{' ? Place::kBeforeKey : Place::kOther;
      break;
    case '}':
    case ']':
      brackets.close();
      scan.place = Place::kOther;
      break;
    case ',':
      if (brackets.in_object()) scan.place = Place::kBeforeKey;
      break;
  }
  return true;
}

// What tokens would do, without doing it: brackets on top of those that are open.
class UniqueKeys::Ahead {
 public:
  explicit Ahead(const std::vector<Bracket>& brackets) : open_(brackets) { look_below(); }

  void open(bool is_object) { added_.push_back({nullptr, {is_object, {}}}); }
  void close() {
    if (!added_.empty()) added_.pop_back();
    if (added_.empty()) look_below();
  }
  bool in_object() const { return !added_.empty() && added_.back().bracket.is_object; }
  bool add_key(std::string key) {
    if (added_.empty()) return true;
    Level& level = added_.back();
    const auto holds = [&key](const Keys& keys) { return std::ranges::find(keys, key) != keys.end(); };
    if (holds(level.bracket.keys) || (level.told != nullptr && holds(level.told->keys))) return false;
    level.bracket.keys.push_back(std::move(key));
    return true;
  }

 private:
  struct Level {
    const Bracket* told;  // the open bracket that this is, if it is one
    Bracket bracket;      // its keys: those that were added to it
  };

  void look_below() {
    if (closed_ == open_.size()) return;
    const Bracket& told = open_[open_.size() - ++closed_];
    added_.push_back({&told, {told.is_object, {}}});
  }

  const std::vector<Bracket>& open_;
  size_t closed_ = 0;  // of open_, how many were looked at or closed
  std::vector<Level> added_;
};

bool UniqueKeys::add_key(std::string key) {
  if (brackets_.empty()) return true;
  Keys& keys = brackets_.back().keys;
  if (std::ranges::find(keys, key) != keys.end()) return false;
  keys.push_back(std::move(key));
  return true;
}

bool UniqueKeys::repeats_key(std::string_view bytes) const {
  if (scan_.place == Place::kString && bytes.find_first_of("\"\\") == bytes.npos) return false;
  Scan scanned = scan_;
  Ahead ahead(brackets_);
  return !std::ranges::all_of(bytes, [&](char byte) { return scan(byte, scanned, ahead); });
}

bool UniqueKeys::read(std::string_view bytes) {
  if (repeats_key(bytes)) return false;
  for (const char byte : bytes) scan(byte, scan_, *this);
  return true;
}

void UniqueKeys::restrict(const TokenVocabularyTrie& trie, std::span<uint64_t> mask) const {
  for (const TokenId token : trie.tokens_with_quotes()) {
    if (has_token(mask, token) && repeats_key(trie.token_bytes(token))) clear_token(mask, token);
  }
  const bool in_key = scan_.place == Place::kKey || scan_.place == Place::kKeyEscape;
  if (!in_key || brackets_.empty()) return;
  // Tokens with one quotation mark: those that begin with the rest of a key that this one may become.
  for (const std::string& key : brackets_.back().keys) {
    if (key.starts_with(scan_.key)) clear_branch(trie, key.substr(scan_.key.size()) + '"', mask);
  }
}

void UniqueKeys::clear_branch(const TokenVocabularyTrie& trie, std::string_view bytes,
                              std::span<uint64_t> mask) const {
  TokenVocabularyTrie::Node node = trie.last_root();  // whatever ends a key has a quotation mark
  for (const char byte : bytes) {
    node = trie.child(node, static_cast<uint8_t>(byte));
    if (node == TokenVocabularyTrie::kNoNode) return;
  }
  for (TokenVocabularyTrie::Node at = node; at < trie.end(node); ++at) {
    for (TokenId token = trie.token(at); token != TokenVocabularyTrie::kNoToken;
         token = trie.next_token(token)) {
      clear_token(mask, token);
    }
  }
}

}  // namespace deepserve::runner
