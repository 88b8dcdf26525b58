// The words of `ds-runner serve`, which dsd writes (daemon/supervise/runner_command.h).
#pragma once

#include <string>
#include <vector>

#include "ipc/base/result.h"
#include "runner/lane/serve_options.h"

namespace deepserve::runner {

// `arguments`: what follows the word "serve". kUsage names what is wrong with them; --help is such an error,
// too: nobody types this command.
Result<ServeOptions> parse_serve_arguments(std::vector<std::string> arguments);

}  // namespace deepserve::runner
