#include "runner/engine/continuation.h"

#include <algorithm>

namespace deepserve::runner {

bool Continuation::is_end(TokenId token) const {
  if (!generation_.ignore_eos && tokenizer_.ends_generation(token)) return true;
  return std::ranges::find(generation_.stop_tokens, token) != generation_.stop_tokens.end();
}

std::optional<ipc::FinishReason> Continuation::append(TokenId token, std::string& text) {
  const bool may_end = !must_go_on();
  ++tokens_;
  if (may_end && is_end(token)) {
    if (matcher_.append(stream_.finish(), text)) return ipc::FinishReason::kStop;
    matcher_.flush(text);
    return ipc::FinishReason::kStop;
  }
  const bool at_limit = tokens_ >= tokens_limit_;
  std::string piece = stream_.append(token);
  if (at_limit) piece += stream_.finish();
  if (may_end) {
    if (matcher_.append(piece, text)) return ipc::FinishReason::kStop;
  } else {
    text += piece;
  }
  if (!at_limit) return std::nullopt;
  matcher_.flush(text);
  return ipc::FinishReason::kLength;
}

void Continuation::finish(std::string& text) {
  if (!matcher_.append(stream_.finish(), text)) matcher_.flush(text);
}

}  // namespace deepserve::runner
