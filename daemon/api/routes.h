// The routes of api.sock, one file for each family. Everything passed is borrowed for as long as the routes
// are used.
#pragma once

#include "daemon/api/api.h"

namespace deepserve::daemon {

void add_completion_routes(Router& router, Serving& serving, Metrics& metrics, const ApiOptions& options);
void add_model_routes(Router& router, Serving& serving);
void add_tokenize_routes(Router& router, Serving& serving);
void add_health_routes(Router& router, Serving& serving, Metrics& metrics, const HttpServer* server);

}  // namespace deepserve::daemon
