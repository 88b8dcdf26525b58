// What the admission core hears: requests that come, go on and end; runners that come, tell of themselves and
// go. Plain values; instants are of CLOCK_MONOTONIC (or a simulator's clock), in nanoseconds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/admission/client_limits.h"
#include "daemon/admission/prompt_prefix.h"
#include "ipc/lane/gauges.h"
#include "ipc/wire/messages.h"

namespace deepserve::daemon {

// A request wants to be served. Its class is already clamped to its client's ceiling.
//
// A client's request of several prompts comes as so many of these, its parts, one after the other and with
// nothing between. It is served or refused as a whole: one ticket is for all of it, and once a part is
// refused those that are still to come are as well, and hear of the same slot.
struct Arrived {
  ipc::RequestId request = 0;  // never used twice
  ipc::RequestId whole = 0;    // of the first of its parts; 0: it has no others
  uint32_t whole_parts = 1;
  uint64_t whole_prompt_bytes = 0;  // of all parts
  uint32_t model = 0;               // the owner counts them
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
  bool any_model = false;    // at stage 0: the body may name another one
  bool any_class = false;
  ClientRules rules;      // its client's own limits
  bool is_retry = false;  // it says so
  PromptPrefix prefix;    // by which the runner is found that knows its beginning; empty: none does
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
// accepted is never refused any more. A suspect is tried by itself (dispatch/suspect_trial.h).
struct Returned {
  ipc::RequestId request = 0;
  bool accepted = false;
  bool suspect = false;
};

// It waited in an earlier life of the daemon, which had taken it: it waits again, behind those that came this
// way before it, and is not asked once more whether it should have come: only its deadline is left. What its
// ticket and its other parts were worth has been used there.
struct TakenOver {
  Arrived arrived;
};

// It runs at `runner` already, from an earlier life of the daemon: nothing is decided of it or learnt from
// its start. What it has generated so far is told as if it came now.
struct Adopted {
  Arrived arrived;
  uint32_t runner = 0;
};

struct RunnerCapacity {
  uint32_t sequences_max = 1;
  uint32_t kv_blocks = 0;  // 0: not known, never short
  uint32_t kv_block_tokens = 16;
  uint32_t context_tokens = 0;   // 0: not known
  double step_target_s = 0.025;  // of prefill in a step in which others decode; 0: no limit
  double step_max_s = 0.1;       // no step is to be longer while vip traffic is present; 0: no limit
};
// It takes requests from now on. `runner`: a small number, its own until its last request has left it.
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

// No runner of this model will take anything for a while: what takes its place is loaded within about
// `load_ns`, from now on or, with `drains`, from the end of what runs. Who waits and cannot be in time then
// is refused now; the others are held, and shed no more.
struct Held {
  uint32_t model = 0;
  uint64_t load_ns = 0;
  bool drains = false;
};
// What was held for is here, or will not come.
struct Reopened {
  uint32_t model = 0;
};
// It waits, and `model` is to serve it instead: ahead of all that wait there, uncharged.
struct Rerouted {
  ipc::RequestId request = 0;
  uint32_t model = 0;
};

// Time has passed: at least every kInterval_ns while anything waits or runs.
struct Tick {
  static constexpr uint64_t kInterval_ns = 50'000'000;
};

}  // namespace deepserve::daemon
