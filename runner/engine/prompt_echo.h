// How far a request's prompt has been told to those who asked for it, and the text of its tokens.
//
// The prompt is told as it is computed, chunk by chunk, and where nothing is to be computed, in pieces
// between the steps, so that neither memory nor a step's time grows with its length. With log probabilities
// ("scored") token t needs the logits of position t - 1; the first needs none, nothing predicts it. A
// preempted prompt is computed again, and goes on being told where it stopped.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "runner/model/tokenizer/text_stream.h"

namespace deepserve::runner {

class PromptEcho {
 public:
  static constexpr uint32_t kNowhere = std::numeric_limits<uint32_t>::max();

  // `tokenizer` must outlive the echo.
  PromptEcho(const Tokenizer& tokenizer, uint32_t prompt_tokens, bool scored)
      : prompt_tokens_(prompt_tokens), scored_(scored), stream_(tokenizer, true) {}

  bool scored() const { return scored_; }
  // Tokens of the prompt that were told; the next one's position.
  uint32_t told() const { return told_; }
  bool complete() const { return told_ == prompt_tokens_; }
  // How many can have been told once the prompt's first `computed` tokens have run.
  uint32_t tellable(uint32_t computed) const {
    if (scored_ && computed > 0) ++computed;
    return std::min(computed, prompt_tokens_);
  }
  // The first position whose logits are still wanted; kNowhere: none are.
  uint32_t scored_from() const {
    if (!scored_ || complete()) return kNowhere;
    return told_ == 0 ? 0 : told_ - 1;
  }

  // `token` is the next one. Appends the whole characters that it completes, and to the last token's also
  // what is left, as U+FFFD: all texts joined are the prompt's decoded text.
  void tell(TokenId token, std::string& text) {
    text += stream_.append(token);
    if (++told_ == prompt_tokens_) text += stream_.finish();
  }

 private:
  uint32_t prompt_tokens_;
  bool scored_;
  uint32_t told_ = 0;
  TextStream stream_;
};

}  // namespace deepserve::runner
