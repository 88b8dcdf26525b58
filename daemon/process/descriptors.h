// How many descriptors dsd may have (RLIMIT_NOFILE), and who gets them: its own, its operators' and its
// runners' first, the API's connections what is left.
#pragma once

#include <cstddef>

#include "daemon/http/limits.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

// Our soft limit, after it was raised to the hard one.
Result<size_t> raise_descriptor_limit();

// The descriptors that no client of the API may ever hold, so that ctl.sock answers and a runner that died
// comes back while every one of its connections is open.
size_t reserved_descriptors(const HttpLimits& limits, size_t listeners, size_t runners);

// `limits` with as many connections of clients as `limit` allows: its own number where that fits. kIo where
// not even a few would be left; the message names RLIMIT_NOFILE, its value and the least that is needed.
Result<HttpLimits> fit_descriptors(const HttpLimits& limits, size_t limit, size_t listeners, size_t runners);

}  // namespace deepserve::daemon
