// A request as the engine runs it, and its choices, each of which is one sequence of tokens.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ipc/wire/messages.h"
#include "runner/backend/backend.h"
#include "runner/engine/continuation.h"
#include "runner/engine/token_counts.h"

namespace deepserve::runner {

// Who goes first: the class, then who came first, then the choices in order. The smaller one wins.
struct Priority {
  ipc::Class service_class = ipc::Class::kNormal;
  uint64_t arrival = 0;
  uint16_t choice = 0;
  auto operator<=>(const Priority&) const = default;
};

struct Request;

enum class SequencePhase : uint8_t {
  kNew,      // the scheduler does not know it yet
  kWaiting,  // has no KV blocks: not admitted yet, or preempted
  kRunning,  // has a seat in the batch and blocks for all of its tokens but the last
  kEnded,    // has finished, failed or been cancelled
};

struct Sequence {
  Request* request = nullptr;
  Priority priority;
  SequencePhase phase = SequencePhase::kNew;
  std::vector<TokenId> tokens;  // the prompt, then the answer
  uint32_t computed = 0;        // of these, how many are in the KV cache
  std::vector<BlockId> blocks;  // [ceil(tokens / block_tokens)] while it runs; the last may be shared
  bool awaits_leader = false;   // its first choice is prefilling the prompt that they share
  TokenCounts counts;
  Continuation continuation;

  uint32_t size() const { return static_cast<uint32_t>(tokens.size()); }
  // Tokens that are to run before the next one can be sampled: 1 when it decodes.
  uint32_t pending() const { return size() - computed; }
};

struct Request {
  ipc::RequestId id = 0;
  ipc::Generation generation;
  uint32_t prompt_tokens = 0;
  std::string echo_text;          // delivered with the first token of each choice
  std::vector<Sequence> choices;  // never resized after the request was made: sequences are pointed at
  uint32_t choices_open = 0;
  uint32_t completion_tokens = 0;  // of all choices, resumed ones included
  bool accepted = false;
  bool ended = false;  // its terminal outcome was told
  uint64_t submitted_ns = 0;
  uint64_t scheduled_ns = 0;  // its first prefill
  uint64_t first_token_ns = 0;
  uint64_t last_token_ns = 0;
};

}  // namespace deepserve::runner
