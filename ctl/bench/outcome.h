// What became of one request, and when. Plain values.
//
// All instants are nanoseconds from the start of the run; 0 where it did not come to that.
#pragma once

#include <string>

#include "ctl/bench/schedule.h"

namespace deepserve::ctl::bench {

enum class End {
  kFull,        // all of the answer came, as asked for
  kDegraded,    // all of an answer came that says it is a lesser one (X-Deepserve-Degraded)
  kRefused,     // 503 or 429, and no further try within the run
  kFailed,      // another status, a broken connection, or a stream that ended with an error or too early
  kUnsent,      // no connection was free in time
  kUnfinished,  // still waiting when the run was over
  kCount
};

std::string_view end_name(End end);

// One try: a request as it went out once, and the answer to it.
struct Try {
  uint64_t intended_ns = 0;     // when it was meant to go out
  uint64_t sent_ns = 0;         // when its last byte was written
  uint64_t head_ns = 0;         // when the status line and headers were there
  uint64_t first_token_ns = 0;  // when the first text was there
  uint64_t last_token_ns = 0;
  uint64_t end_ns = 0;  // when the answer was complete or known to be lost
  uint32_t text_events = 0;
  uint32_t prompt_tokens = 0;      // as the server counted them; 0: it did not say
  uint32_t completion_tokens = 0;  // as the server counted them, else text events
  unsigned status = 0;             // 0: no answer
  std::string reason;              // of a refusal or failure: "queue_full"
  std::string degradation;         // X-Deepserve-Degraded; empty: none
};

struct Outcome {
  Planned planned;
  Try last;
  unsigned tries = 1;
  End end = End::kFailed;
};

// TTFT, TPOT (mean time between an answer's tokens after the first) and E2E latency of the last try. Only of
// answers that came.
uint64_t ttft_ns(const Try& one);
uint64_t tpot_ns(const Try& one);
uint64_t e2e_ns(const Try& one);

}  // namespace deepserve::ctl::bench
