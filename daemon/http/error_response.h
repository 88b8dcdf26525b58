// Errors in OpenAI's shape: {"error": {"message", "type", "param", "code", ...}} with the status of the
// errors' table.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/http/message.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

// What some errors say beyond their message; empty and 0: not said.
struct ErrorDetails {
  std::string param = {};          // the request's field at fault, "messages[0].content"
  std::string reason = {};         // of a refusal: "queue_full"
  std::string service_class = {};  // of a refusal: "normal"
  uint64_t retry_after_ms =
      0;  // also as the headers Retry-After (whole seconds, rounded up) and retry-after-ms
  uint64_t predicted_ttft_ms = 0;  // of a refusal: when its first token would have come
  uint64_t deadline_ms = 0;        // of a refusal: when it should have come
  bool booked = false;             // of a refusal: there is a slot at retry_after_ms
  std::string ticket = {};         // for that slot, as the header X-Deepserve-Ticket
  std::string degraded = {};       // as the header X-Deepserve-Degraded
  // As `x-should-retry: false`: OpenAI's clients repeat a 408, 409, 429 or 5xx by themselves unless told
  // not to.
  bool retry_is_useless = false;
};

void append_error_json(std::string& out, const Error& error, const ErrorDetails& details = {});

HttpResponse error_response(const Error& error, const ErrorDetails& details = {});

}  // namespace deepserve::daemon
