// The ids of answers, as clients write them.
#pragma once

#include <string_view>

#include "daemon/serving/serving.h"

namespace deepserve::daemon {

// As X-Request-Id writes it, or as an answer's id; 0 for anything else.
RequestId request_id_of(std::string_view text);

}  // namespace deepserve::daemon
