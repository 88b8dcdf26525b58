// Turns a stream of tokens into text that is always whole UTF-8 characters.
#pragma once

#include <string>
#include <string_view>

#include "runner/model/tokenizer/tokenizer.h"

namespace deepserve::runner {

// One generated choice's text. Bytes of an unfinished character are held back until the tokens that complete
// it; bytes that can never become a character turn into U+FFFD, as std Unicode practice says (maximal
// subparts).
class TextStream {
 public:
  // `tokenizer` must outlive the stream. `at_start`: nothing precedes this text (a SentencePiece leading
  // space goes).
  explicit TextStream(const Tokenizer& tokenizer, bool at_start)
      : tokenizer_(&tokenizer), at_start_(at_start) {}

  // The characters that `token` completed; may be empty. Control tokens have none, but for the marks that
  // models put around tool calls.
  std::string append(TokenId token);
  // What was still held back, as U+FFFD where it is no character.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  std::string pending_;  // at most 3 bytes: the beginning of one character
  bool at_start_;
};

}  // namespace deepserve::runner
