// `ds-runner logits MODEL --tokens 1,5,9 [--top 5] [--json]`: the raw top logits after each token of a
// sequence, so that anyone can hold us against another engine.
#pragma once

#include <string>
#include <vector>

#include "ipc/base/result.h"

namespace deepserve::runner {

// `arguments`: what follows the word "logits". Prints to stdout; the exit status, or why there is none:
// kUsage for the arguments (or 0 after --help), the codes of load_model for the file, kInvalidRequest for a
// token it does not have. Needs no usable vocabulary; a second time it gives the same bytes.
Result<int> run_logits(std::vector<std::string> arguments);

}  // namespace deepserve::runner
