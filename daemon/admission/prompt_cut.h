// Long prompts made shorter, for clients that agreed to it (DESIGN 7, truncated context). Pure.
//
// Of a chat the messages that lead it (the system prompt) stay, and of the others as many as fit, whole, from
// the newest backwards; what is kept of them begins with a user's message, so that no answer and no tool's
// result stands without its question. Of a text or of tokens the end stays.
#pragma once

#include <cstdint>

#include "ipc/wire/messages.h"

namespace deepserve::daemon {

// Of all text and tokens in it: what prompts are measured in where nobody has counted their tokens.
uint64_t prompt_bytes(const ipc::Prompt& prompt);

// Leaves at most `bytes_max` of its prompt_bytes(), and says how many are gone; 0: it was within them, or
// cannot be cut to so little (what has to stay is more), and is as it was.
uint64_t cut_prompt(ipc::Prompt& prompt, uint64_t bytes_max);

}  // namespace deepserve::daemon
