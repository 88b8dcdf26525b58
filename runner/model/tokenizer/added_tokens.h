// Finds the tokens that are looked for in text as a whole, by the flags that a tokenizer.json gives them.
#pragma once

#include <unordered_map>

#include "runner/model/tokenizer/special_tokens.h"

namespace deepserve::runner {

class AddedTokens {
 public:
  struct Match {
    size_t begin;
    size_t end;
    TokenId token;
  };

  bool is_empty() const { return is_empty_; }

  // A text that was added before keeps its first token. `text` must not be empty.
  void add(std::string_view text, const AddedToken& token);

  // The leftmost one at `from` or later, of those that begin there the longest; with the white space that it
  // takes along, but nothing before `from`.
  std::optional<Match> find(std::string_view text, size_t from) const;

 private:
  bool is_empty_ = true;
  SpecialTokens texts_;
  std::unordered_map<TokenId, AddedToken> with_flags_;  // those that have one
};

}  // namespace deepserve::runner
