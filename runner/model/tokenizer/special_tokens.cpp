#include "runner/model/tokenizer/special_tokens.h"

#include <algorithm>

#include "ipc/base/check.h"

namespace deepserve::runner {
namespace {

const uint32_t* child_of(const std::vector<std::pair<char, uint32_t>>& children, char byte) {
  const auto found =
      std::find_if(children.begin(), children.end(), [&](const auto& c) { return c.first == byte; });
  return found == children.end() ? nullptr : &found->second;
}

}  // namespace

void SpecialTokens::add(std::string_view text, TokenId token) {
  CHECK(!text.empty());
  begins_token_[static_cast<uint8_t>(text[0])] = true;
  uint32_t node = 0;
  for (char byte : text) {
    if (const uint32_t* child = child_of(nodes_[node].children, byte)) {
      node = *child;
      continue;
    }
    const auto added = static_cast<uint32_t>(nodes_.size());
    nodes_[node].children.emplace_back(byte, added);
    nodes_.emplace_back();
    node = added;
  }
  if (!nodes_[node].token) nodes_[node].token = token;
}

std::optional<SpecialTokens::Match> SpecialTokens::find(std::string_view text, size_t from) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!begins_token_[static_cast<uint8_t>(text[begin])]) continue;
    if (const std::optional<Match> match = longest_at(text, begin)) return match;
  }
  return std::nullopt;
}

std::optional<SpecialTokens::Match> SpecialTokens::longest_at(std::string_view text, size_t begin) const {
  std::optional<Match> longest;
  uint32_t node = 0;
  for (size_t at = begin; at < text.size(); ++at) {
    const uint32_t* child = child_of(nodes_[node].children, text[at]);
    if (child == nullptr) break;
    node = *child;
    if (nodes_[node].token) longest = Match{begin, at + 1 - begin, *nodes_[node].token};
  }
  return longest;
}

}  // namespace deepserve::runner
