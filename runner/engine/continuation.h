// The answer of one choice as it grows: what text its tokens make, and when it ends.
#pragma once

#include <optional>
#include <string>

#include "runner/engine/stop_matcher.h"
#include "runner/model/tokenizer/text_stream.h"

namespace deepserve::runner {

class Continuation {
 public:
  // `tokenizer` and `generation` must outlive the continuation. `tokens_limit` is at least 1.
  Continuation(const Tokenizer& tokenizer, const ipc::Generation& generation, uint32_t tokens_limit,
               bool at_start)
      : tokenizer_(tokenizer),
        generation_(generation),
        tokens_limit_(tokens_limit),
        stream_(tokenizer, at_start),
        matcher_(generation.stop) {}

  // Takes the next token and appends to `text` what may be delivered now: whole characters that are not the
  // beginning of a stop string. Returns why the choice has ended, if it has: then `text` has all of the rest.
  // An end token and a stop string stand for no text. Before tokens_min tokens nothing but tokens_limit ends
  // a choice.
  std::optional<ipc::FinishReason> append(TokenId token, std::string& text);

  // The choice ends although append() did not say so: appends all of the rest to `text`.
  void finish(std::string& text);

  uint32_t tokens() const { return tokens_; }
  // True when the next token must not end the choice.
  bool must_go_on() const { return tokens_ < generation_.tokens_min; }

 private:
  bool is_end(TokenId token) const;

  const Tokenizer& tokenizer_;
  const ipc::Generation& generation_;
  uint32_t tokens_limit_;
  uint32_t tokens_ = 0;
  TextStream stream_;
  StopMatcher matcher_;
};

}  // namespace deepserve::runner
