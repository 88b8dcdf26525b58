// Asks a grammar which texts it admits.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>

#include "runner/grammar/matcher.h"
#include "tests/unit/grammar/byte_vocabulary.h"

namespace deepserve::runner::testing {

enum class Reading { kWrong, kBegun, kWhole };

class Language {
 public:
  explicit Language(Result<Grammar> grammar)
      : trie_(bytes_, bytes_.size()), error_(grammar ? Error{} : grammar.error()) {
    if (grammar) tokens_ = std::make_shared<TokenGrammar>(std::move(*grammar), trie_, cache_);
  }

  const std::string& error() const { return error_.message; }
  Code code() const { return error_.code; }
  GrammarMatcher matcher() const { return {tokens_, {ByteVocabulary::kEnd}}; }

  Reading read(std::string_view text) const {
    EXPECT_TRUE(tokens_) << error_.message;
    if (!tokens_) return Reading::kWrong;
    GrammarMatcher matcher = this->matcher();
    for (const char byte : text) {
      const auto token = static_cast<TokenId>(static_cast<unsigned char>(byte));
      // What may come and what is taken must be the same.
      const auto allowed = matcher.allowed();
      const bool may_come = allowed && has_token(*allowed, token);
      const bool taken = matcher.accept(token);
      EXPECT_EQ(may_come, taken) << text;
      if (!taken) return Reading::kWrong;
    }
    return matcher.complete() ? Reading::kWhole : Reading::kBegun;
  }
  bool admits(std::string_view text) const { return read(text) == Reading::kWhole; }

 private:
  ByteVocabulary bytes_;
  TokenVocabularyTrie trie_;
  MaskCache cache_;
  Error error_;
  std::shared_ptr<TokenGrammar> tokens_;
};

inline Language gbnf(std::string_view source) {
  return Language(Grammar::from_gbnf(source));
}
inline Language schema(std::string_view source) {
  return Language(Grammar::from_json_schema(source));
}

}  // namespace deepserve::runner::testing
