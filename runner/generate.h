// `ds-runner generate MODEL --prompt TEXT`: one answer from a model file, without a daemon, and how fast it
// came.
#pragma once

#include <string>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::runner {

// `arguments`: what follows the word "generate". The answer goes to stdout as it grows, the figures to
// stderr. The exit status, or why there is none: kUsage for the arguments, the codes of load_model for the
// file, the request's own.
Result<int> run_generate(std::vector<std::string> arguments);

}  // namespace deepserve::runner
