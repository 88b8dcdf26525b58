#include "runner/model/text_stream.h"

#include "runner/model/utf8.h"

namespace deepserve::runner {

std::string TextStream::append(TokenId token) {
  std::string_view bytes = tokenizer_->token_bytes(token);
  if (bytes.empty()) return {};
  if (at_start_) {
    const Vocabulary& vocabulary = tokenizer_->vocabulary();
    const bool leading_space =
        vocabulary.kind == TokenizerKind::kSentencePiece && vocabulary.add_space_prefix;
    if (leading_space && bytes[0] == ' ') bytes.remove_prefix(1);
    at_start_ = false;
  }
  pending_.append(bytes);
  std::string text;
  const size_t unfinished_bytes = append_whole_characters(text, pending_);
  pending_.erase(0, pending_.size() - unfinished_bytes);
  return text;
}

std::string TextStream::finish() {
  const bool unfinished = !pending_.empty();
  pending_.clear();
  return unfinished ? std::string(kReplacementCharacter) : std::string();
}

}  // namespace deepserve::runner
