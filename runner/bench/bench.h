// `ds-runner bench MODEL`: how fast steps of the backend are, against what this host could do at best.
#pragma once

#include <string>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::runner {

// `arguments`: what follows the word "bench". The figures go to stdout. The exit status, or why there is
// none: kUsage for the arguments, the codes of load_model for the file, kInvalidRequest for what does not
// fit.
Result<int> run_bench(std::vector<std::string> arguments);

}  // namespace deepserve::runner
