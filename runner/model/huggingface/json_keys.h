// Finds keys that an object of a JSON text has twice, which a parsed value no longer shows.
#pragma once

#include <string_view>

#include "ipc/base/result.h"
#include "runner/model/huggingface/json_document.h"

namespace deepserve::runner {

// kBadModelFile names the first key that is repeated. `text` is JSON that parse_json took under `limits`.
Result<void> refuse_repeated_keys(std::string_view text, std::string_view file, const JsonLimits& limits);

}  // namespace deepserve::runner
