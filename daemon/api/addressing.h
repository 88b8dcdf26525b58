// Who asks, and which model: what every request that a runner answers needs besides its own fields.
#pragma once

#include "daemon/api/field_error.h"
#include "daemon/api/routes.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

// Writes the client, its peer, what it says of an earlier refusal, and the model's own name into `spec`,
// whose `model` is what the client wrote. Returns the model. Errors: those of client_of and find_model.
Parsed<ModelRow> address(const HttpRequest& request, const ApiParts& parts, RequestSpec& spec);

}  // namespace deepserve::daemon
