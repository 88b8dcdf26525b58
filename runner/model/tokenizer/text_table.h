// A hash table from the bytes of tokens to their ids; built once, then read by any number of threads.
#pragma once

#include <bit>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "runner/model/vocabulary.h"

namespace deepserve::runner {

// `Texts`: a list of the tokens' texts by id, as std::vector<std::string> is one.
template <typename Texts>
class TextTable {
 public:
  // Room for `count` texts. `texts` is what add() and find() look at, wherever it keeps its texts by then; it
  // must outlive the table.
  TextTable(const Texts& texts, size_t count)
      : texts_(&texts), slots_(std::bit_ceil(count + count / 3 + 2)) {}

  // A text that was added before keeps its first id.
  void add(TokenId token) {
    const std::string_view text = (*texts_)[token];
    const uint32_t hash = hash_of(text);
    Slot& slot = slots_[index_of(text, hash)];
    if (slot.token == kNone) slot = {hash, token};
    if (text.size() > text_bytes_max_) text_bytes_max_ = text.size();
  }

  std::optional<TokenId> find(std::string_view text) const {
    if (text.size() > text_bytes_max_) return std::nullopt;
    const Slot& slot = slots_[index_of(text, hash_of(text))];
    if (slot.token == kNone) return std::nullopt;
    return slot.token;
  }

 private:
  static constexpr TokenId kNone = 0xffffffff;  // no token has this id
  struct Slot {
    uint32_t hash = 0;
    TokenId token = kNone;
  };

  static uint32_t hash_of(std::string_view text) {
    uint64_t hash = text.size() * 0x9e3779b97f4a7c15u;
    while (text.size() >= 8) {
      uint64_t word;
      std::memcpy(&word, text.data(), sizeof word);
      hash = mixed(hash ^ word);
      text.remove_prefix(8);
    }
    uint64_t last = 0;
    if (!text.empty()) std::memcpy(&last, text.data(), text.size());
    hash = mixed(hash ^ last);
    return static_cast<uint32_t>(hash >> 32);
  }

  static uint64_t mixed(uint64_t value) {
    value *= 0xbf58476d1ce4e5b9u;
    return value ^ value >> 31;
  }

  // Of the slot that holds the text, else of the free one where it belongs.
  size_t index_of(std::string_view text, uint32_t hash) const {
    const size_t mask = slots_.size() - 1;
    size_t index = hash & mask;
    while (slots_[index].token != kNone && !holds(slots_[index], text, hash)) index = (index + 1) & mask;
    return index;
  }

  bool holds(const Slot& slot, std::string_view text, uint32_t hash) const {
    return slot.hash == hash && std::string_view((*texts_)[slot.token]) == text;
  }

  const Texts* texts_;
  std::vector<Slot> slots_;  // a power of two, at most three quarters of them taken
  size_t text_bytes_max_ = 0;
};

}  // namespace deepserve::runner
