// What has become of one request so far: the tokens that were told, choice by choice, and how often it was
// tried. Enough to replay it elsewhere so that no token comes twice and none is missing (DESIGN 6), those of
// an echoed prompt included, which a replay tells again from the first one on. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

// Whose fault the death of a runner is, as far as its requests are concerned.
enum class Blame : uint8_t {
  kNobody,  // an outside SIGKILL, or we restarted it: its requests are innocent
  kRunner,  // crash, hang, out of memory: one of its requests may have caused it
};

enum class Heard : uint8_t {
  kNews,    // to be told
  kRetold,  // to be told, but heard_before() and told again: no runner has computed it just now
  kRepeat,  // was told before: to be dropped
  kLie,     // cannot be: the runner is not to be trusted
};

class RequestProgress {
 public:
  static constexpr uint32_t kReplaysMax = 32;        // by itself, in a row, with nothing new in between
  static constexpr uint32_t kInVainMax = 8;          // in a row; then it is tried by itself
  static constexpr uint32_t kInnocentTokens = 1024;  // that a suspect tells until it is one no more

  RequestProgress(ipc::Work work, const ipc::Generation& generation);

  // What an earlier dsd had heard, and told: a replay goes on behind it, and tells it again as it was. Until
  // then the request's own runner may do so, which has it in its log.
  void heard_before(std::vector<ipc::ResumedChoice> told);

  Heard on_accepted(const ipc::Accepted& event);
  // No log probability may be above zero or no number. Cuts away what was told before: of an echo tokens,
  // logprobs and text; of an answer the text that came without tokens, which has no index by which a repeat
  // would be known.
  Heard on_delta(ipc::Delta& event);
  Heard on_embedding(const ipc::Embedding& event);
  // May set `last`, with the usage of the whole request, where this ends the last choice that was still open:
  // after a replay the runner's own idea of it counts choices that had ended before.
  Heard on_finished(ipc::Finished& event);
  // Where the runner is to blame, it becomes a suspect: from then on it is tried by itself
  // (dispatch/suspect_trial.h). `alone`: that runner had no other request. False: it may not be tried again,
  // since it was a suspect already and alone, or comes to nothing however often it is tried by itself.
  [[nodiscard]] bool on_runner_died(Blame blame, bool alone);

  // For the submit of a replay; empty before the first token.
  std::vector<ipc::ResumedChoice> resumed() const;
  uint32_t resumed_tokens() const;  // of all choices
  bool accepted() const { return accepted_; }
  uint32_t prompt_tokens() const { return prompt_tokens_; }
  uint32_t generated_tokens() const { return generated_tokens_; }
  uint32_t replays() const { return replays_; }
  // Nobody is to blame, and yet whatever runner has it dies before it tells anything: an OOM killer that
  // cannot be seen looks like this, and so do kills in quick succession.
  bool is_in_vain() const { return in_vain_ > kInVainMax; }
  // It may be why a runner died.
  bool is_suspect() const { return was_suspected_ && generated_tokens_ - suspected_at_ < kInnocentTokens; }

 private:
  struct Echoed {
    uint32_t tokens = 0;
    size_t text_bytes = 0;
  };
  struct Choice {
    Echoed echo_told;   // to the client
    Echoed echo_heard;  // from the runner that has the request now
    std::vector<ipc::TokenId> tokens;
    std::vector<ipc::TokenId> before;  // of heard_before; `tokens` do not differ from them
    size_t text_told_bytes = 0;        // without tokens, since the last of `tokens`
    size_t text_skip_bytes = 0;        // of that, what the replay has still to repeat
    bool ended = false;
  };
  void note_news() { in_vain_ = alone_in_vain_ = 0; }
  Heard on_echo(Choice& choice, ipc::Delta& event);
  bool echo_is_whole(const Choice& choice) const;

  const ipc::Work work_;
  const bool echo_wanted_;
  std::vector<Choice> choices_;
  size_t open_choices_;
  bool accepted_ = false;
  bool embedding_told_ = false;
  bool embedding_heard_ = false;  // from the runner that has the request now
  uint32_t prompt_tokens_ = 0;
  uint32_t cached_tokens_ = 0;
  uint32_t generated_tokens_ = 0;
  bool was_suspected_ = false;
  uint32_t suspected_at_ = 0;  // of the generated tokens
  uint32_t replays_ = 0;
  uint32_t in_vain_ = 0;        // replays since the last news
  uint32_t alone_in_vain_ = 0;  // of those, by itself
};

}  // namespace deepserve::daemon
