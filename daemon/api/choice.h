// One choice of an answer as it comes: what its client has not been told yet, and what is known of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/api/answer_text.h"
#include "daemon/api/tool_call_reader.h"

namespace deepserve::daemon {

struct Choice {
  std::string text;  // not told yet; of an answer in one piece: all of it
  ToolCallReader reader;
  std::vector<ToolCall> calls;  // as `text`: not told yet, or all of them
  size_t calls_told = 0;        // before `calls`
  LogprobText logprobs;
  uint32_t tokens = 0;       // received; a prompt that is echoed does not count
  uint32_t tokens_told = 0;  // whose text has been told as well
  uint64_t last_token_ns = 0;
  uint64_t text_characters = 0;  // received, where log probabilities are told
  double logprob_sum = 0;        // of the tokens, where their log probabilities are known
  std::optional<ipc::FinishReason> finish;
  bool finish_told = false;

  size_t held_bytes() const;
  bool has_called() const { return calls_told + calls.size() != 0; }
  // Takes over the text and tokens of `event`; its log probabilities for the client where it asked for them
  // (`top` alternatives of each token; kNoLogprobs: it did not).
  void take(const ipc::Delta& event, bool chat, uint8_t top);
  // Nothing more will come: what was held back becomes text or calls.
  void finish_with(ipc::FinishReason reason);
  void release();  // what has been told, or never will be
};

// The places of the `told` best of the choices [first, first + count): those with the highest mean log
// probability of a token come first; one without any token is the last, ties keep their order.
std::vector<size_t> best_choices(const std::vector<Choice>& choices, size_t first, size_t count, size_t told);

}  // namespace deepserve::daemon
