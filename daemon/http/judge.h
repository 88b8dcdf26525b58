// What is refused on a request's head alone (DESIGN 7, stage 0).
#pragma once

#include <functional>
#include <optional>

#include "daemon/http/message.h"

namespace deepserve::daemon {

// Looks at a head, whose peer is known, before its body is received. An answer refuses the request: its body
// is discarded unread. A body of at most HttpLimits::refused_wait_bytes is waited for, and the connection
// goes on; before a longer one, or one of unknown length, the client is answered at once, so much of the body
// as HttpLimits::refused_bytes_max is discarded for HttpLimits::linger_ms, and the connection ends. Called on
// the loop's thread, once for each request.
using Judge = std::function<std::optional<HttpResponse>(const HttpRequest& head)>;

}  // namespace deepserve::daemon
