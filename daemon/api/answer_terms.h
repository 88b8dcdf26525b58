// How long an answer lives, and who may come back for it (DESIGN 6).
//
// An answer ends with its connection, unless its client asked for it to outlive that: by
// `X-Deepserve-Resume: 1`, or by an Idempotency-Key. Such an answer runs to its end whether anybody reads it
// or not (its own timeout and token limit bound it; DELETE /v1/requests/{id} ends it), and can be resumed
// for ApiOptions::resume_window_ns after the later of its end and its last reader's leaving. An answer that
// another dsd began has lost its reader through no fault of its own: it counts as asked for until the window
// is over; if nobody has come by then and it did not ask, it is cancelled.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/config/api_key.h"
#include "daemon/http/message.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

struct AnswerTerms {
  bool outlives = false;                    // the connection: the client asked for it
  std::string key = {};                     // Idempotency-Key; empty: none
  KeyDigest fingerprint = {};               // with a key: of the path and the body that came under it
  std::optional<uint64_t> timeout_ns = {};  // for all of the answer; 0: none; nothing: the server's default
  // Of an answer that an earlier dsd began; 0: this one did.
  int64_t created_unix = 0;
  uint64_t started_ns = 0;  // CLOCK_MONOTONIC
};

inline constexpr size_t kIdempotencyKeyBytesMax = 255;

// What the headers of a POST ask for. kInvalidRequest: X-Deepserve-Resume is neither 1 nor 0, or the key is
// not 1 to 255 visible ASCII characters; `param` is that header then.
//
// A key that begins with "stainless-" was made up by one of OpenAI's libraries, for its own repetitions after
// a time-out or a lost connection. Nobody asked for an answer that outlives it: it is as no key, so that a
// client that leaves ends its request, and a repetition is a new one.
Result<AnswerTerms> read_terms(const HttpRequest& request, std::string& param);

}  // namespace deepserve::daemon
