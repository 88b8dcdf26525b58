#include "daemon/api/routes.h"
#include "daemon/http/error_response.h"

namespace deepserve::daemon {

void add_health_routes(Router& router, Serving& serving, Metrics& metrics, const HttpServer* server) {
  router.add("GET", "/healthz", [](Exchange& exchange, const PathParameters&) {
    exchange.respond({.content_type = "text/plain; charset=utf-8", .body = "ok\n"});
    return nullptr;
  });
  router.add("GET", "/readyz", [&serving](Exchange& exchange, const PathParameters&) {
    if (serving.ready()) {
      exchange.respond({.content_type = "text/plain; charset=utf-8", .body = "ready\n"});
    } else {
      exchange.respond(error_response({Code::kModelNotReady, "no runner is ready and making progress"},
                                      {.reason = "not_ready", .retry_after_ms = 1000}));
    }
    return nullptr;
  });
  router.add("GET", "/metrics", [&serving, &metrics, server](Exchange& exchange, const PathParameters&) {
    const HttpCounters* counters = server == nullptr ? nullptr : &server->counters();
    exchange.respond({.content_type = "text/plain; version=0.0.4; charset=utf-8",
                      .body = metrics.render(serving, counters)});
    return nullptr;
  });
}

}  // namespace deepserve::daemon
