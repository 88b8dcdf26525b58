// Finds a model by the name that a client wrote.
#pragma once

#include <string_view>
#include <vector>

#include "daemon/serving/serving.h"

namespace deepserve::daemon {

// By name or alias; empty: the first one, the default. kModelNotFound lists the names there are.
Result<ModelRow> find_model(const Serving& serving, std::string_view name);

}  // namespace deepserve::daemon
