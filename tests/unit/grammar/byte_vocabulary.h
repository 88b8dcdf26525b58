// Vocabularies for grammar tests: one token for each byte, and whatever longer ones a test asks for.
#pragma once

#include <string>
#include <vector>

#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner::testing {

// Token b is the byte b, 256 the end, `longer` follow from 257 on.
class ByteVocabulary final : public Tokenizer {
 public:
  static constexpr TokenId kEnd = 256;

  explicit ByteVocabulary(const std::vector<std::string>& longer = {}) {
    for (int byte = 0; byte < 256; ++byte) texts_.emplace_back(1, static_cast<char>(byte));
    texts_.emplace_back();
    texts_.insert(texts_.end(), longer.begin(), longer.end());
    vocabulary_.tokens = texts_;
  }

  std::vector<TokenId> encode(std::string_view text, Specials) const override {
    return {text.begin(), text.end()};
  }
  std::string_view token_bytes(TokenId token, bool = false) const override {
    return token < texts_.size() ? std::string_view(texts_[token]) : std::string_view();
  }
  std::string decode(std::span<const TokenId> tokens) const override {
    std::string text;
    for (const TokenId token : tokens) text += token_bytes(token);
    return text;
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  bool ends_generation(TokenId token) const override { return token == kEnd; }
  uint32_t size() const { return static_cast<uint32_t>(texts_.size()); }

 private:
  std::vector<std::string> texts_;
  Vocabulary vocabulary_;
};

}  // namespace deepserve::runner::testing
