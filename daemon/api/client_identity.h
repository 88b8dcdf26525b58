// Under whose name a request goes.
#pragma once

#include <string>

#include "daemon/api/api.h"
#include "daemon/http/message.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

inline constexpr size_t kEndUserBytesMax = 128;

// ApiOptions::client_name of the peer; of a trusted proxy's end user, whom X-Deepserve-Client names,
// "proxy#user", which no configured name can be. kForbidden: anybody else sent that header.
// kInvalidRequest: what it holds is not 1 to kEndUserBytesMax visible ASCII characters.
Result<std::string> client_of(const HttpRequest& request, const ApiOptions& options);

}  // namespace deepserve::daemon
