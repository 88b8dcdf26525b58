// All of stdin as one text.
#pragma once

#include <string>

#include "ipc/base/result.h"

namespace deepserve::ctl {

// kPayloadTooLarge beyond 64 MiB.
Result<std::string> read_standard_input();

}  // namespace deepserve::ctl
