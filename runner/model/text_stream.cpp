#include "runner/model/text_stream.h"

#include "runner/model/tokenizer_base.h"
#include "runner/model/utf8.h"

namespace deepserve::runner {

std::string TextStream::append(TokenId token) {
  const std::string_view bytes = tokenizer_->token_bytes(token);
  if (bytes.empty()) return {};
  if (at_start_)
    pending_.append(without_leading_space(bytes, tokenizer_->vocabulary().leading_space));
  else
    pending_.append(bytes);
  at_start_ = false;
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
