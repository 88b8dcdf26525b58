// A hash table from the bytes of tokens to their ids; built once, then read by any number of threads.
#pragma once

#include <bit>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "runner/model/vocabulary.h"

namespace deepserve::runner {

class TextTable {
 public:
  // Room for `texts` texts.
  explicit TextTable(size_t texts = 0) : slots_(std::bit_ceil(texts * 2 + 2)) {}

  // A text that was added before keeps its first id. `text` must outlive the table and not move.
  void add(std::string_view text, TokenId token) {
    const uint32_t hash = hash_of(text);
    Slot& slot = slots_[index_of(text, hash)];
    if (!slot.text.data()) slot = {text, hash, token};
    if (text.size() > text_bytes_max_) text_bytes_max_ = text.size();
  }

  std::optional<TokenId> find(std::string_view text) const {
    if (text.size() > text_bytes_max_) return std::nullopt;
    const Slot& slot = slots_[index_of(text, hash_of(text))];
    if (!slot.text.data()) return std::nullopt;
    return slot.token;
  }

 private:
  struct Slot {
    std::string_view text;  // data() is null: free
    uint32_t hash = 0;
    TokenId token = 0;
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
    while (slots_[index].text.data() && (slots_[index].hash != hash || slots_[index].text != text)) {
      index = (index + 1) & mask;
    }
    return index;
  }

  std::vector<Slot> slots_;  // a power of two, at most half of them taken
  size_t text_bytes_max_ = 0;
};

}  // namespace deepserve::runner
