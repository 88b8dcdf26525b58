// The life of one request inside dsd, as a table (DESIGN 6). Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace deepserve::daemon {

enum class RequestState : uint8_t {
  kQueued,      // waits for a runner; may still be refused, unless it was accepted before (a replay)
  kDispatched,  // a runner has its submit; it may still be refused
  kAccepted,    // the runner said so: the 200 is out. Not: that a token exists
  kStreaming,   // at least one token was told
  kCancelling,  // nobody listens any more; the runner has been told and has not confirmed
  kEnded,       // its one terminal outcome was told; the record goes
  kCount
};
std::string_view request_state_name(RequestState state);

enum class RequestEvent : uint8_t {
  kDispatch,    // a runner was chosen
  kAccept,      // from the runner
  kDelta,       // from the runner
  kFinish,      // from the runner: the last choice has ended
  kFail,        // from the runner
  kRunnerDied,  // and the request is to be replayed
  kRunnerLost,  // the runner died and the request may not be replayed, or no runner of its model is left
  kLetGo,       // the client left, or an operator cancelled
  kExpire,      // its deadline has passed in the queue
  kStop,        // dsd ends
  kCount
};

enum class RequestRule : uint8_t {
  kNothing,     // out of date: ignored
  kImpossible,  // only a runner that lies, or a bug of ours, gets here
  kGo,          // the state changes, nothing else
  kTell,        // the sink hears the event
  kRequeue,     // goes ahead of the queue with the tokens that it has
  kRefuse,      // the sink hears a refusal (nothing was accepted yet) or a failure (it was)
  kCancel,      // the runner is told to cancel
  kDrop,        // the record goes without a word
  kCount
};

struct RequestCell {
  RequestState next;
  RequestRule rule;
};

RequestCell request_cell(RequestState state, RequestEvent event);

}  // namespace deepserve::daemon
