// Who may ask, decided on a request's head.
#pragma once

#include <functional>
#include <string>

#include "daemon/http/message.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

// Looks at a head before its body is received, and says which configured client its API key names (empty:
// none). An error is the answer, and ends the connection. Called on the loop's thread.
using Authorize = std::function<Result<std::string>(const HttpRequest& head, bool is_unix)>;

}  // namespace deepserve::daemon
