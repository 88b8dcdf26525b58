// The daemon's refusals: OpenAI-shaped error bodies read back into our own error table.
#pragma once

#include <string_view>

#include "ctl/http_client.h"
#include "ctl/retry.h"

namespace deepserve::ctl {

// The failure that an answer other than 2xx tells of. A body without a code that we know is judged by its
// status.
Failure failure_from_answer(const HttpHead& head, std::string_view body);

// The same for the body of a stream's `event: error`, whose status was 200.
Failure failure_from_event(std::string_view data);

}  // namespace deepserve::ctl
