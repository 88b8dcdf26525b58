// How often each token has occurred in one choice: what the penalties look at.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>

#include "ipc/wire/messages.h"

namespace deepserve::runner {

using ipc::TokenId;

// Counts nothing, and allocates nothing, for a generation without penalties.
class TokenCounts {
 public:
  TokenCounts(const ipc::Generation& generation, std::span<const TokenId> prompt)
      : active_(generation.presence_penalty != 0.0f || generation.frequency_penalty != 0.0f ||
                generation.repetition_penalty != 1.0f) {
    if (!active_) return;
    for (const TokenId token : prompt) generated_.try_emplace(token, 0);
  }

  void add_generated(TokenId token) {
    if (active_) ++generated_[token];
  }
  bool active() const { return active_; }
  // Every token of the prompt and of the answer so far, with how often the answer holds it (0: the prompt
  // only).
  const std::unordered_map<TokenId, uint32_t>& generated() const { return generated_; }

 private:
  bool active_;
  std::unordered_map<TokenId, uint32_t> generated_;
};

}  // namespace deepserve::runner
