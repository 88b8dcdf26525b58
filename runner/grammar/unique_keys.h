// Sees to it that no object of a JSON answer has the same key twice, which no grammar can say: a scanner that
// goes along with the answer and knows the keys of the objects that are open.
//
// For answers of grammars that spell a key in one way (json_text.h: the names of a schema with those escapes
// that they need, all others with none), so that equal keys are equal bytes.
// A value: copied with the answer that it belongs to.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runner/grammar/token_trie.h"

namespace deepserve::runner {

class UniqueKeys {
 public:
  // Takes what comes next of the answer. False, and nothing is taken, when a key comes the second time in its
  // object.
  bool read(std::string_view bytes);
  // Takes the tokens that would end such a key out of `mask`.
  void restrict(const TokenVocabularyTrie& trie, std::span<uint64_t> mask) const;

 private:
  using Keys = std::vector<std::string>;  // an object has few
  // What is open: an object with its keys so far, or an array.
  struct Bracket {
    bool is_object = false;
    Keys keys;
  };
  enum class Place : uint8_t {
    kBeforeKey,  // in an object, after { or ,
    kKey,
    kKeyEscape,  // after \ in a key
    kOther,
    kString,
    kEscape,  // after \ in a string
  };
  struct Scan {
    Place place = Place::kOther;
    std::string key;  // what has been read of it, as it is spelt
  };
  class Ahead;

  // Tells `brackets` what one byte opens, closes and names; false when the key was there.
  template <typename Brackets>
  static bool scan(char byte, Scan& scan, Brackets& brackets);
  bool repeats_key(std::string_view bytes) const;
  void clear_branch(const TokenVocabularyTrie& trie, std::string_view bytes, std::span<uint64_t> mask) const;

  // What scan() tells.
  void open(bool is_object) { brackets_.push_back({is_object, {}}); }
  void close() {
    if (!brackets_.empty()) brackets_.pop_back();
  }
  bool in_object() const { return !brackets_.empty() && brackets_.back().is_object; }
  bool add_key(std::string key);

  Scan scan_;
  std::vector<Bracket> brackets_;
};

}  // namespace deepserve::runner
