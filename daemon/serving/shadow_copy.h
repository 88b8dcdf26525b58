// The answer to a copy of a request, which nobody gets: kept until it has ended and can be compared.
#pragma once

#include <functional>
#include <utility>

#include "daemon/rollout/shadow_tally.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

class ShadowCopy final : public ResponseSink {
 public:
  enum class End : uint8_t {
    kAnswered,
    kFailed,   // the shadow is to blame
    kSkipped,  // it was refused, or cancelled by an operator
  };
  // `ended` is called once, as the last thing; it must not destroy the copy.
  using Ended = std::function<void(const ShadowCopy& copy, End how)>;

  ShadowCopy(AnswerTokens original, Ended ended)
      : original_(std::move(original)), answer_(original_.size()), ended_(std::move(ended)) {}

  void on_accepted(const ipc::Accepted& /*event*/) override {}
  void on_delta(const ipc::Delta& event) override {
    if (event.echo || event.choice >= answer_.size()) return;
    auto& tokens = answer_[event.choice];
    tokens.insert(tokens.end(), event.tokens.begin(), event.tokens.end());
  }
  void on_finished(const ipc::Finished& event) override {
    if (event.last) ended_(*this, End::kAnswered);
  }
  void on_refused(const Refusal& /*refusal*/) override { ended_(*this, End::kSkipped); }
  void on_failed(const Error& error) override {
    ended_(*this, error.code == Code::kCancelled ? End::kSkipped : End::kFailed);
  }

  const AnswerTokens& original() const { return original_; }
  const AnswerTokens& answer() const { return answer_; }

 private:
  const AnswerTokens original_;
  AnswerTokens answer_;
  const Ended ended_;
};

}  // namespace deepserve::daemon
