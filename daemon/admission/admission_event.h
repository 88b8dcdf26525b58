// What the admission core hears: requests that come, go on and end; runners that come, tell of themselves and
// go. Plain values; instants are of CLOCK_MONOTONIC (or a simulator's clock), in nanoseconds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/admission/client_limits.h"
#include "ipc/lane/gauges.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

// A request wants to be served. Its class is already clamped to its client's ceiling.
struct Arrived {
  ipc::RequestId request = 0;  // never used twice
  uint32_t model = 0;          // index in the configuration
  ipc::Class service_class = ipc::Class::kNormal;
  std::string client;          // who is charged: the configured name, "uid:1000", "proxy/end user"
  double client_weight = 1.0;  // above 0
  uint32_t choices = 1;
  uint64_t prompt_bytes = 0;                  // as received, for an estimate of its tokens
  uint32_t prompt_tokens = 0;                 // where they are known; 0: not counted yet
  uint32_t tokens_max = ipc::kRestOfContext;  // of each choice; 0: nothing is generated (an embedding)
  uint64_t deadline_ns = 0;  // of the first token, an instant; 0: the class's default from now
  uint64_t bytes = 0;        // of memory that it holds while it waits
  uint64_t body_hash = 0;    // of its body; 0: not known
  uint64_t body_bytes = 0;   // the length of it
  std::string ticket;        // as the client showed it; empty: none
  ClientRules rules;         // its client's own limits
  bool is_retry = false;     // it says so
  // Hashes of the prompt's leading pieces, each over all that is before its end.
  std::vector<uint64_t> prefix;
};

// What its runner says.
struct Accepted {
  ipc::RequestId request = 0;
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;
};
struct FirstToken {
  ipc::RequestId request = 0;
};
struct TokensCame {
  ipc::RequestId request = 0;
  uint32_t count = 0;  // further ones, of all choices together
};

enum class EndKind : uint8_t {
  kFinished,   // well
  kFailed,     // the runner, or the model, is to blame
  kCancelled,  // nobody wants it any more
  kCount,
};
// It is over, and its runner has nothing of it any more; also of one that waits. A request that was refused
// (see Refuse) has ended already.
struct Ended {
  ipc::RequestId request = 0;
  EndKind how = EndKind::kFinished;
  uint32_t completion_tokens = 0;  // of all choices together
};

// It left its runner unfinished and is to be served again: ahead of all that wait, uncharged. One that was
// accepted is never refused any more.
struct Returned {
  ipc::RequestId request = 0;
  bool accepted = false;
};

struct RunnerCapacity {
  uint32_t sequences_max = 1;
  uint32_t kv_blocks = 0;  // 0: not known, never short
  uint32_t kv_block_tokens = 16;
  uint32_t context_tokens = 0;  // 0: not known
};
// It takes requests from now on. `runner`: a small number, the same from one life to the next.
struct RunnerUp {
  uint32_t runner = 0;
  uint32_t model = 0;
  RunnerCapacity capacity;
};
// Its gauges were read. `has_room`: its lane takes messages.
struct RunnerTold {
  uint32_t runner = 0;
  ipc::Gauges gauges;
  bool has_room = true;
};
// It takes nothing any more; what becomes of its requests is told of each (Returned, Ended).
struct RunnerDown {
  uint32_t runner = 0;
};

// Time has passed: at least every kTick_ns while anything waits or runs.
struct Tick {
  static constexpr uint64_t kInterval_ns = 50'000'000;
};

}  // namespace deepserve::daemon
