// Finds whole tokens such as "<|im_end|>" in text: the leftmost one, of those that begin there the longest.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/model/vocabulary.h"

namespace deepserve::runner {

class SpecialTokens {
 public:
  SpecialTokens() : nodes_(1) {}

  // A text that was added before keeps its first token. `text` must not be empty.
  void add(std::string_view text, TokenId token);

  struct Match {
    size_t begin;
    size_t bytes;
    TokenId token;
  };
  std::optional<Match> find(std::string_view text, size_t from) const;

 private:
  struct Node {
    std::optional<TokenId> token;
    std::vector<std::pair<char, uint32_t>> children;  // (byte, index into nodes_)
  };
  std::optional<Match> longest_at(std::string_view text, size_t begin) const;

  std::vector<Node> nodes_;               // a trie; nodes_[0] is its root
  std::array<bool, 256> begins_token_{};  // of each byte, so that ordinary text is skipped at one look a byte
};

}  // namespace deepserve::runner
