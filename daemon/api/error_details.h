// What the errors of requests say beyond their message.
#pragma once

#include "daemon/http/error_response.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

// Of a refusal by Serving, and of a failure: every 503 and 429 says why, of which class, and when to come
// back. An answer that took too long would do so again, and a conflict stays one: no client is to repeat
// those.
ErrorDetails refusal_details(const Refusal& refusal);
ErrorDetails failure_details(const Error& error, ipc::Class service_class);

}  // namespace deepserve::daemon
